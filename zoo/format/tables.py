"""The zoo in tables: a row per model, a row per state."""

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.disk import files
from zoo.format.reading import are_plain_names, checking, damaged, is_plain_name, reading
from zoo.format.record import KEPT as KEPT  # a column, too, of the table of states of such a zoo

LOSSES_AND_ACCURACIES = ["train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc"]
ACCURACIES = ["train_acc", "val_acc", "test_acc"]
METRICS = [*LOSSES_AND_ACCURACIES, "ggap"]

# The hyperparameters that models.csv always shows, varied or not. Other generating factors follow them.
HYPERPARAMETERS = [
    *("data", "model", "model.activation", "model.dropout", "init", "init.model", "init.epoch", "init.optimizer"),
    *("optim", "optim.lr", "optim.weight_decay"),
    *("optim.momentum", "schedule", "augmentation", "batch_size", "seed"),
]

# The columns of models.csv that say how a model turned out.
OUTCOME = ["status", "diverged", "last_epoch", *METRICS, "best_epoch"]

# What the columns that every zoo has are read as; others as what they look like.
STATE_TYPES: dict[str, type] = {"id": int, "epoch": int, **dict.fromkeys(METRICS, float), "diverged": bool}
MODEL_TYPES: dict[str, type] = {
    **{"id": int, "node": str, "variant": int, "status": str, "diverged": bool, "last_epoch": int},
    **dict.fromkeys([*METRICS, "best_epoch"], float),
}

# Columns of either table, which no hyperparameter can be called.
RESERVED = {*STATE_TYPES, *MODEL_TYPES, KEPT}

STATUSES = FINISHED, UNFINISHED, DIVERGED = "finished", "unfinished", "diverged"
UNTRAINED = "not trained yet"  # why a node has no row

LARGEST = 2**64  # whole numbers from here on fit into no column

ROUNDING = 1e-9  # by which a number in a table may differ from the one it follows from


def states(histories: Sequence[Sequence[Mapping[str, Any]]], others: Sequence[str] = ()) -> pd.DataFrame:
    """metrics.csv: a row per model and epoch, from each model's records by epoch. `others`: more columns."""
    columns = [*LOSSES_AND_ACCURACIES, "diverged", *others]
    rows = [
        (id, epoch, *(record[column] for column in columns))
        for id, records in enumerate(histories)
        for epoch, record in enumerate(records)
    ]
    table = pd.DataFrame(rows, columns=["id", "epoch", *columns]).astype(dict.fromkeys(LOSSES_AND_ACCURACIES, float))
    table.insert(table.columns.get_loc("diverged"), "ggap", table["train_acc"] - table["test_acc"])
    return table


def models(
    params: Sequence[Mapping[str, Any]],
    variants: Sequence[int],
    factors: Sequence[str],
    states: pd.DataFrame,
    max_epochs: int,
) -> pd.DataFrame:
    """models.csv: a row per model, in the order of `params` (contents of params.json); its metrics are its last."""
    shown = [key for key in HYPERPARAMETERS if any(key in node for node in params)]
    shown += [key for key in factors if key not in shown]
    chosen = pd.DataFrame(
        {
            "id": range(len(params)),
            "node": [node["node"] for node in params],
            "variant": variants,
            **{key: [cell(node.get(key)) for node in params] for key in shown},
        }
    )
    return chosen.join(outcome(states, max_epochs), on="id")


def outcome(states: pd.DataFrame, max_epochs: int) -> pd.DataFrame:
    """How each model turned out: the columns OUTCOME by model id, from the table of states, where they are by id."""
    ids = states["id"].to_numpy()
    found = outcomes(states, max_epochs)
    statuses = np.array(STATUSES, dtype=object)[found.pop("status")]
    best = pd.array(found.pop("best_epoch"), dtype="Int64")
    table = pd.DataFrame({"status": statuses, **found, "best_epoch": best}, index=pd.Index(ids[firsts(ids)], name="id"))
    return table.astype({"status": "str"})


def outcomes(states: pd.DataFrame, max_epochs: int) -> dict[str, np.ndarray]:
    """The same in arrays [models]: `status` as a place in STATUSES, `best_epoch` NaN where there is none."""
    begins = firsts(states["id"].to_numpy())
    last = np.append(begins[1:], len(states))[: len(begins)] - 1
    column = {key: states[key].to_numpy() for key in ("epoch", "diverged", *METRICS)}
    last_epochs, diverged = column["epoch"][last], column["diverged"][last]
    status = np.where(diverged, STATUSES.index(DIVERGED), np.where(last_epochs >= max_epochs, 0, 1))
    metrics = {key: column[key][last] for key in METRICS}
    best = best_epochs(column["val_acc"], column["epoch"], begins)
    return {"status": status, "diverged": diverged, "last_epoch": last_epochs, **metrics, "best_epoch": best}


def firsts(ids: np.ndarray) -> np.ndarray:
    """The row of each model's first state; states are by model."""
    return np.flatnonzero(np.diff(ids, prepend=-1))


def best_epochs(accuracies: np.ndarray, epochs: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """The first of each model's epochs with its best validation accuracy; NaN if it has none.

    Of states [states], of which each model's begin at one of the rows `begins`.
    """
    found = np.full(len(begins), np.nan)
    if not len(begins):
        return found
    models = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(epochs)))
    rows = np.flatnonzero(accuracies == np.fmax.reduceat(accuracies, begins)[models])
    first = rows[np.diff(models[rows], prepend=-1) > 0]
    found[models[first]] = epochs[first]
    return found


def cell(value: Any) -> Any:
    """A list, a mapping, or what would end a line, as JSON; all else fits into a cell as it is."""
    ends_line = isinstance(value, str) and "\r" in value  # which no quotes are put around
    return json.dumps(value) if ends_line or isinstance(value, list | Mapping) else value


def rank(value: Any) -> tuple[int, float, str]:
    """For sorting the values of a hyperparameter: numbers first, then all else by its text."""
    is_number = isinstance(value, int | float) and value == value
    return (0, value, "") if is_number else (1, 0, json.dumps(value, sort_keys=True))


def read_models(path: Path, variants: int) -> pd.DataFrame:
    """models.csv. Raises ZooError unless ids count from 0 and each node has a name and one of so many variants.

    Whether its outcomes are right, the table of states tells: `require_outcome`.
    """
    with reading(path):
        return models_in(path, path.read_bytes(), variants)


def models_in(path: Path | str, content: bytes, variants: int | None) -> pd.DataFrame:
    """The same from the content of the file; `variants` is None where their number is not known."""
    return checked_models(path, table_in(path, content, MODEL_TYPES), variants)


def checked_models(path: Path | str, table: pd.DataFrame, variants: int | None) -> pd.DataFrame:
    """The table that was read from `path`, if it is one of models."""
    with checking(path):
        require_models(path, table, variants)
        nodes = table["node"].tolist()
        if not are_plain_names(nodes):
            wrong = next(name for name in nodes if not is_plain_name(name))
            raise damaged(path, f"{wrong!r} can't be the name of a node")
        if len(set(nodes)) < len(nodes):
            raise damaged(path, f"the node {Counter(nodes).most_common(1)[0][0]!r} is there twice")
    return table


def require_models(path: Path | str, table: pd.DataFrame, variants: int | None) -> None:
    """Raise ZooError for what no table of models can be, whatever their nodes are called."""
    with checking(path):
        if table.empty or (table["id"].to_numpy() != np.arange(len(table))).any():
            raise damaged(path, "its ids are not 0, 1, 2 ... without a gap")
        own = table["variant"].to_numpy()
        last = own.max() if variants is None else variants - 1
        if own.min() < 0 or own.max() > last:
            raise damaged(path, f"a variant is none of 0 to {last}")
        if reserved := {"epoch"} & set(table):
            raise damaged(path, f"no hyperparameter can be called {reserved.pop()!r}")


def read_states(path: Path, models: int, epochs: int) -> pd.DataFrame:
    """metrics.csv, without the states that are not kept.

    Raises ZooError unless it has every model's epochs, from 0 on, in order, with sound numbers.
    """
    with reading(path):
        return states_in(path, path.read_bytes(), models, epochs)


def states_in(path: Path | str, content: bytes, models: int, epochs: int) -> pd.DataFrame:
    """The same from the content of the file."""
    return checked_states(path, table_in(path, content, STATE_TYPES), models, epochs)


def checked_states(path: Path | str, table: pd.DataFrame, models: int, epochs: int) -> pd.DataFrame:
    """The table that was read from `path`, if it is one of the states of so many models."""
    with checking(path):
        ids, its_epochs = table["id"].to_numpy(), table["epoch"].to_numpy()
        if len(ids) and not 0 <= ids.min() <= ids.max() < models:
            raise damaged(path, f"an id is none of the {models} models'")
        counts = np.bincount(ids, minlength=models)
        if counts.min() < 1 or counts.max() > epochs:
            raise damaged(path, f"a model has no state, or more than the {epochs} for which there are weights")
        first = np.repeat(counts.cumsum() - counts, counts)  # the row of each model's epoch 0
        if (np.diff(ids) < 0).any() or (its_epochs != np.arange(len(table)) - first).any():
            raise damaged(path, "its rows are not by model, and each model's by epoch from 0 on")
        table = kept(path, table, models)
        if fault := fault_of_metrics(table):
            raise damaged(path, fault)
    return table


def kept(path: Path | str, table: pd.DataFrame, models: int) -> pd.DataFrame:
    """The rows of the states that are there: all, but in a zoo with gaps."""
    if KEPT not in table:
        return table
    if table[KEPT].dtype != bool:
        raise damaged(path, f"its column `{KEPT}` has more than True and False")
    there = table[table[KEPT]].drop(columns=KEPT).reset_index(drop=True)
    if there["id"].nunique() < models:
        raise damaged(path, "a model has no state that is kept")
    return there


def fault_of_metrics(states: pd.DataFrame) -> str | None:
    """What no state's metrics can be, if anything."""
    values = {key: states[key].to_numpy() for key in METRICS}
    if any(np.isinf(column).any() for column in values.values()):
        return "a number is infinite"
    accuracies = [values[key] for key in ACCURACIES]
    if any((column < 0).any() or (column > 1).any() for column in accuracies):
        return "an accuracy is not between 0 and 1"
    missing = [np.isnan(column) for column in accuracies]
    if any(column.any() and not column.all() for column in missing):
        by_epoch = pd.DataFrame(dict(enumerate(missing))).groupby(states["epoch"].to_numpy())
        if (by_epoch.any() != by_epoch.all()).any(axis=None):  # some zoos have none at their first
            return "an accuracy is missing that other states of its epoch have"
    if not close(values["ggap"], values["train_acc"] - values["test_acc"]):
        return "a `ggap` is not train_acc - test_acc"
    return None


def places_of(statuses: pd.Series) -> np.ndarray:
    """In STATUSES; -1 for what is none."""
    numbers, texts = pd.factorize(statuses)
    places = [STATUSES.index(text) if text in STATUSES else -1 for text in texts]
    return np.array([*places, -1])[numbers]


def close(values: np.ndarray, expected: np.ndarray) -> bool:
    """Whether numbers that are finite or missing are the same but for rounding, and the same are missing."""
    if (values == expected).all():  # as they mostly are
        return True
    with np.errstate(invalid="ignore"):
        same = np.abs(values - expected) <= ROUNDING * (1 + np.abs(expected))
    return bool((same | (np.isnan(values) & np.isnan(expected))).all())


def require_outcome(path: Path, models: pd.DataFrame, states: pd.DataFrame, max_epochs: int) -> None:
    """Raise ZooError if what `models`, read from `path`, says of their outcomes does not follow from their states."""
    with checking(path):
        for key, expected in outcomes(states, max_epochs).items():
            if key == "status":
                same = bool((places_of(models[key]) == expected).all())
            elif MODEL_TYPES[key] is float:
                same = close(models[key].to_numpy(), expected)
            else:
                same = bool((models[key].to_numpy() == expected).all())
            if not same:
                raise damaged(path, f"its column `{key}` contradicts metrics.csv, or the epochs of the weights")


def write(path: Path, table: pd.DataFrame) -> None:
    files.write(path, lambda file: table.to_csv(file, index=False))


def read(path: Path, types: Mapping[str, type]) -> pd.DataFrame:
    """Read what `write` wrote; `types` are of the columns that must be there. Only empty cells are NaN: None is a text.

    Raises ZooError if columns are missing or of one name, or a cell is not of its column's type.
    """
    with reading(path):
        return table_in(path, path.read_bytes(), types)


def table_in(path: Path | str, content: bytes, types: Mapping[str, type]) -> pd.DataFrame:
    """The same from the content of the file."""
    with checking(path):
        first = pd.read_csv(io.BytesIO(content), header=None, nrows=1, dtype=str, keep_default_na=False)
        [header] = first.to_numpy().tolist()
        if lacking := [name for name in types if name not in header]:
            raise damaged(path, f"it lacks the columns {', '.join(lacking)}")
        if "" in header or len(set(header)) < len(header):
            raise damaged(path, f"its columns {header} are not all different names")
        # pandas would guess the types of other columns piece by piece, if it were to spare memory
        spare = types.keys() == set(header)
        with np.errstate(invalid="raise"):  # a number that is infinite is no id
            table = pd.read_csv(
                io.BytesIO(content), keep_default_na=False, na_values=[""], dtype=dict(types), low_memory=spare
            )
        if not isinstance(table.index, pd.RangeIndex):
            raise damaged(path, "its rows are longer than its header")
    return table


def read_cells(path: Path) -> pd.DataFrame:
    """A table as it is written: every cell a text, and '' if it is empty. `write` gives the same file again."""
    with reading(path), checking(path):
        return pd.read_csv(path, dtype=str, keep_default_na=False)

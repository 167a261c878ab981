"""The zoo in tables: a row per model, a row per state."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.disk import files
from zoo.errors import ZooError

LOSSES_AND_ACCURACIES = ["train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc"]
METRICS = [*LOSSES_AND_ACCURACIES, "ggap"]

# The hyperparameters that models.csv always shows, varied or not. Other generating factors follow them.
HYPERPARAMETERS = [
    *("data", "model", "model.activation", "model.dropout", "init", "optim", "optim.lr", "optim.weight_decay"),
    *("optim.momentum", "schedule", "augmentation", "batch_size", "seed"),
]

# The columns of models.csv that say how a model turned out.
OUTCOME = ["status", "diverged", "last_epoch", *METRICS, "best_epoch"]

FINISHED, UNFINISHED, DIVERGED = "finished", "unfinished", "diverged"
UNTRAINED = "not trained yet"  # why a node has no row


def states(histories: Sequence[Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """metrics.csv: a row per model and epoch, from each model's records by epoch."""
    columns = [*LOSSES_AND_ACCURACIES, "diverged"]
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
    last = states.drop_duplicates("id", keep="last").set_index("id")
    # the first epoch of those with the highest accuracy
    by_accuracy = states.dropna(subset="val_acc").sort_values("val_acc", ascending=False, kind="stable")
    table = pd.DataFrame(
        {
            "id": range(len(params)),
            "node": [node["node"] for node in params],
            "variant": variants,
            **{key: [cell(node.get(key)) for node in params] for key in shown},
            "status": last["epoch"].ge(max_epochs).map({True: FINISHED, False: UNFINISHED}),
            "diverged": last["diverged"],
            "last_epoch": last["epoch"],
            **last[METRICS],
            "best_epoch": by_accuracy.drop_duplicates("id").set_index("id")["epoch"].astype("Int64"),
        }
    )
    return table.assign(status=table["status"].mask(table["diverged"], DIVERGED))


def cell(value: Any) -> Any:
    """A list or a mapping as JSON; all else fits into a cell as it is."""
    return json.dumps(value) if isinstance(value, list | Mapping) else value


def write(path: Path, table: pd.DataFrame) -> None:
    files.write(path, lambda file: table.to_csv(file, index=False))


def read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read what `write` wrote. Only empty cells are NaN: a name such as None is a text."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        table[columns]  # a KeyError if any is missing
    except FileNotFoundError:
        raise ZooError(f"{path} is missing: get the zoo anew, or make it by `python analyze.py`") from None
    except (ValueError, KeyError) as error:
        raise ZooError(f"{path} is damaged ({error}): get the zoo anew, or make it by `python analyze.py`") from error
    return table

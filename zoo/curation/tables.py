"""What a zoo's tables and descriptions say, beside its runs and each other."""

import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.analysis.summary import accuracy_by_factor, summarise
from zoo.curation.findings import Finding
from zoo.curation.open_zoo import OpenZoo
from zoo.curation.runs import Checked
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import binary_tables, tables
from zoo.format.model_source import is_model_source
from zoo.format.reading import json_object, reading
from zoo.format.runs import Place
from zoo.format.train_metrics import train_metrics
from zoo.node.node import canonical

PLACES: tuple[Place, ...] = (
    *(paths.models, paths.metrics, paths.config, paths.nodes, paths.old_nodes, paths.images, paths.index_dict),
    *(paths.model_source, paths.summary, paths.accuracy_by_factor, paths.binary_tables),
)
NAMES = {place: str(place(Path())) for place in PLACES}


def contradictions(zoo: OpenZoo, checked: Sequence[Checked]) -> Iterator[Finding]:
    """Everything in the tables that does not follow from the runs that could be read."""
    known = [run for run in checked if run.params is not None and run.records is not None]
    yield from of_tables(zoo, known) if known else ()
    checks: list[tuple[Place, Callable[[], Iterator[Finding]]]] = [
        (nodes_file(zoo), lambda: (finding for run in known for finding in of_values(zoo, run))),
        (paths.config, lambda: of_config(zoo)),
        (paths.images, lambda: of_images(zoo)),
        (paths.index_dict, lambda: of_index_dict(zoo)),
        (paths.model_source, lambda: of_model_source(zoo)),
        (paths.summary, lambda: of_summary(zoo)),
        (paths.accuracy_by_factor, lambda: of_accuracies(zoo)),
    ]
    if paths.binary_tables(zoo.path).exists():
        checks.append((paths.binary_tables, lambda: of_binary_tables(zoo)))
    for place, check in checks:
        if zoo.is_converted and place in (paths.images, paths.model_source) and not place(zoo.path).exists():
            continue  # if it was there, the checksums have it
        try:
            with reading(place(zoo.path)):
                yield from check()
        except ZooError as error:
            yield Finding(NAMES[place], f"can't be checked ({error})")


def nodes_file(zoo: OpenZoo) -> Place:
    """Where its nodes are listed."""
    return paths.nodes if paths.nodes(zoo.path).exists() else paths.old_nodes


def of_tables(zoo: OpenZoo, known: Sequence[Checked]) -> Iterator[Finding]:
    """models.csv and metrics.csv, cell by cell."""
    ids = [run.task.model for run in known]
    states = tables.states([run.records or [] for run in known])
    models = tables.models(
        [run.params or {} for run in known],
        [run.task.variant for run in known],
        list(zoo.config["search_pattern"]),
        states,
        zoo.max_epochs,
    )
    models["id"], states["id"] = ids, states["id"].map(dict(enumerate(ids)))
    read = as_text(paths.models(zoo.path).read_text(encoding="utf-8"))
    if difference := first_difference(read.iloc[ids], written(models), "node"):
        yield Finding(NAMES[paths.models], f"says that {difference}, by the model's params.json and result.json")
    read = as_text(paths.metrics(zoo.path).read_text(encoding="utf-8"))
    read = read.loc[read["id"].isin(set(map(str, ids))), list(states) if zoo.is_converted else list(read)]
    if difference := first_difference(read, written(states), "id"):
        yield Finding(NAMES[paths.metrics], f"says that {difference}, by the model's result.json")


def of_binary_tables(zoo: OpenZoo) -> Iterator[Finding]:
    path, texts = paths.binary_tables(zoo.path), (paths.models(zoo.path), paths.metrics(zoo.path))
    digests = [files.sha256(text.read_bytes()) for text in texts]
    found = binary_tables.unpacked(path, memoryview(path.read_bytes()), *digests)
    if found is None:
        yield Finding(NAMES[paths.binary_tables], "is of other tables than the texts beside it")
        return
    for name, table in ((binary_tables.MODELS, zoo.models), (binary_tables.STATES, zoo.states)):
        if not found[name].equals(table):
            yield Finding(NAMES[paths.binary_tables], f"has another table of {name} than the text beside it")


def written(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, as it is in a file."""
    return as_text(table.to_csv(index=False))


def as_text(content: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)


def first_difference(there: pd.DataFrame, expected: pd.DataFrame, key: str) -> str | None:
    """The first cell of two tables of texts that is not the same, or the same number; rows are named by `key`."""
    for column in dict.fromkeys([*expected, *there]):
        found, right = (list(table[column]) if column in table else [""] * len(table) for table in (there, expected))
        for row, (own, other) in enumerate(zip(found, right, strict=True)):
            if own != other and not is_same_number(own, other):
                epoch = f" at epoch {there['epoch'].iloc[row]}" if "epoch" in there else ""
                return f"{column} of {key} {there[key].iloc[row]}{epoch} is {own or 'empty'}, not {other or 'empty'}"
    return None


def is_same_number(text: str, other: str) -> bool:
    """Another version of pandas may write a number otherwise, or have summed in another order."""
    try:
        return math.isclose(float(text), float(other), rel_tol=tables.ROUNDING, abs_tol=tables.ROUNDING**2)
    except ValueError:
        return False


def of_values(zoo: OpenZoo, run: Checked) -> Iterator[Finding]:
    """config.json and nodes.csv, beside a model's params.json."""
    params, node = run.params or {}, run.task.node
    if node not in zoo.rows:
        yield Finding(NAMES[nodes_file(zoo)], f"has no row of {node}")
        return
    says = "train_metrics" in params or not zoo.is_converted  # who trained elsewhere has no word for it
    if says and train_metrics(params) != train_metrics(zoo.config["protocol"]):
        yield Finding(NAMES[paths.config], f"says another train_metrics than the params.json of {node}")
    for key, value in zoo.rows[node].items():
        is_factor = key in zoo.config["search_pattern"]
        if key == "train_metrics" or (key not in params and not is_factor) or is_shorter(zoo, key, value, params):
            continue
        if key not in params or canonical(params[key]) != canonical(value):
            place = paths.nodes if is_factor else paths.config
            text = f"says that {key} of {node} is {value!r}, by its params.json {params.get(key)!r}"
            yield Finding(NAMES[place], text)
            return


def is_shorter(zoo: OpenZoo, key: str, value: Any, params: Mapping[str, Any]) -> bool:
    """Whether it is how long is trained, and the zoo has longer trained models beside this one.

    One that was made elsewhere counts the states that were kept, whatever its models were trained for.
    """
    return key == "trainer.max_epochs" and (
        zoo.is_converted or (isinstance(params.get(key), int) and params[key] <= value)
    )


def of_config(zoo: OpenZoo) -> Iterator[Finding]:
    """Its count of nodes, and its search pattern."""
    config, rows, name, beside = zoo.config, zoo.rows, NAMES[paths.config], (NAMES[nodes_file(zoo)],)
    if config.get("models") != len(rows):
        yield Finding(name, f"says that there are {config.get('models')!r} nodes, but {len(rows)} are listed", beside)
    for key, values in config["search_pattern"].items() if paths.nodes(zoo.path).exists() else ():
        listed = [row[key] for row in rows.values() if key in row]
        if distinct(listed) != distinct(values):
            yield Finding(name, f"has a search_pattern with other values of {key} than {beside[0]}", beside)


def distinct(values: Sequence[Any]) -> set[str]:
    return {repr(canonical(value)) for value in values}


def of_images(zoo: OpenZoo) -> Iterator[Finding]:
    digest = zoo.images_digest
    if zoo.config.get("images", digest) != digest:
        yield Finding(NAMES[paths.images], "has other images than those whose digest config.json has")


def of_index_dict(zoo: OpenZoo) -> Iterator[Finding]:
    if json_object(paths.index_dict(zoo.path)) != zoo.architecture.index_dict():
        yield Finding(NAMES[paths.index_dict], f"contradicts {paths.architecture(Path()).name}")


def of_model_source(zoo: OpenZoo) -> Iterator[Finding]:
    if not is_model_source(paths.model_source(zoo.path).read_text(encoding="utf-8", errors="replace")):
        yield Finding(NAMES[paths.model_source], "is no Python source with a function `build`")


def of_summary(zoo: OpenZoo) -> Iterator[Finding]:
    summary, expected = json_object(paths.summary(zoo.path)), summarise(zoo.models)
    name = NAMES[paths.summary]
    if wrong := [key for key, value in expected.items() if not is_close(summary.get(key), value)]:
        yield Finding(name, f"has another `{wrong[0]}` than {NAMES[paths.models]}")
    elif set(summary["missing"]) != set(zoo.rows) - set(zoo.nodes):
        yield Finding(name, f"names other missing models than {NAMES[nodes_file(zoo)]}", (NAMES[nodes_file(zoo)],))


def of_accuracies(zoo: OpenZoo) -> Iterator[Finding]:
    expected = written(accuracy_by_factor(zoo.models, list(zoo.config["search_pattern"])))
    there = as_text(paths.accuracy_by_factor(zoo.path).read_text(encoding="utf-8"))
    if len(there) != len(expected) or first_difference(there, expected, "factor"):
        yield Finding(NAMES[paths.accuracy_by_factor], f"does not follow from {NAMES[paths.models]}")


def is_close(value: Any, other: Any) -> bool:
    """Whether two values from JSON are the same, but for the last digits of numbers."""
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(is_close(value[key], other[key]) for key in value)
    if isinstance(value, float) and isinstance(other, float):
        return math.isclose(value, other, rel_tol=tables.ROUNDING, abs_tol=tables.ROUNDING)
    return bool(value == other)

"""A JSON of splits over state-dict files: DWSNets, neural-graphs, ProbeGen, ScaleGMN, deep-align."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.disk import files
from zoo.errors import ZooError
from zoo.exports import canonical
from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.exports.many_files import state, write_all
from zoo.exports.split_states import measured, parted, place, places, write_splits

LABELS_FILE = "labels.json"
PATHS_FILE, ABSOLUTE_PATHS_FILE = "paths.json", "paths_absolute.json"


@dataclass(frozen=True)
class Model:
    id: int
    node: str
    epochs: list[int]
    keys: list[str]


def write(content: Content, folder: Path, options: Options) -> None:
    labels = classes(content, options.label) if options.label else {}
    write_all(functools.partial(write_states, content.zoo, folder), models(content), len(content), "state")
    write_splits(content, folder, options.out, labels | measured(content))
    for name, base in ((PATHS_FILE, Path()), (ABSOLUTE_PATHS_FILE, options.out)):
        paths = [(base / path).as_posix() for path in places(content)]
        parts = parted(content, {"path": paths})
        files.write_json(folder / name, {split: columns["path"] for split, columns in parts.items()})
    if options.label:
        files.write_json(folder / LABELS_FILE, values(content, options.label))


def models(content: Content) -> list[Model]:
    epochs = content.states.groupby("id")["epoch"].apply(list)
    return [
        Model(int(id), row["node"], epochs[id], canonical.keys(content.architecture, row["variant"]))
        for id, row in content.models.iterrows()
    ]


def write_states(zoo: Path, folder: Path, model: Model) -> int:
    for epoch in model.epochs:
        path = folder / place(model.node, epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files.torch_bytes(state(zoo, model.id, epoch, model.keys)))
    return len(model.epochs)


def classes(content: Content, label: str) -> dict[str, Sequence[Any]]:
    """The class of each state, as text, as the readers expect it: its value's place among all values, sorted."""
    numbers = {value: str(number) for number, value in enumerate(values(content, label))}
    return {"label": [numbers[value] for value in content.states[label].tolist()]}


def values(content: Content, label: str) -> list[Any]:
    if label not in content.states:
        raise ZooError(f"--label {label}: models.csv has no such column, but {', '.join(content.states)}")
    if content.states[label].isna().any():
        raise ZooError(f"--label {label}: some models have no value of it")
    return sorted(content.states[label].unique().tolist())


FORMAT = Format(write, epochs="last", options=("label",))

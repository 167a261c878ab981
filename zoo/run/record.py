"""A node's run, and what of it is there."""

import sys
from pathlib import Path
from typing import Any

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.record import Record, check_state, read_whole_records
from zoo.node.node import Node


def claim(node: Node) -> None:
    """Write the params.json of the node's run, or make sure that the one there is the same."""
    path, params = paths.params(node.run), node.params
    there = read_params(path)
    if there is None:
        files.write_json(path, params)
        return
    if not node.is_same(there.get("config", {})):
        differing = [key for key in params if key != "config" and there.get(key) != params[key]]
        raise ZooError(
            f"{node.run} holds another config: "
            + ", ".join(f"{key}={there.get(key)!r} there, {params[key]!r} here" for key in differing)
            + ". Move that directory away, or choose another zoo.name"
        )
    if there.get("trainer.max_epochs") != node.max_epochs:
        files.write_json(path, params)


def read_params(path: Path) -> dict[str, Any] | None:
    """None if there is no such file, or no such JSON in it: the name of the run's folder is of its values, too."""
    files.require_within(path, path.parent)
    if not path.exists():
        return None
    try:
        params = files.read_json(path)
    except ZooError:
        params = None
    if isinstance(params, dict) and isinstance(params.get("config", {}), dict):
        return params
    print(f"{path} is damaged, and is written anew", file=sys.stderr)
    return None


def finished_records(node: Node) -> list[Record] | None:
    """The records of the node's run if it has nothing left to train: the last state is whole, and the others look so.

    All states of a run are files of one size. One that isn't is read; to read all takes too long in a sweep of
    thousands: making a zoo does, and says which to delete.
    """
    records, damage = read_whole_records(node.run)
    if damage or not is_complete(records, node.max_epochs, node.config["stop_diverged"]):
        return None
    sizes = [size_of(paths.checkpoint(node.run, epoch)) for epoch in range(len(records))]
    try:
        for record, size in zip(records, sizes, strict=True):
            if record is records[-1] or size != sizes[-1]:
                check_state(node.run, record)
    except ZooError:
        return None
    return records


def size_of(path: Path) -> int | None:
    """Bytes of a file; None if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def is_complete(records: list[Record], max_epochs: int, stop_diverged: bool = True) -> bool:
    """Whether there is nothing left to train: every epoch is recorded, or the model diverged and that ends it."""
    return bool(records) and (len(records) > max_epochs or (stop_diverged and records[-1]["diverged"]))


def require_own_files(run: Path) -> None:
    """Raise ZooError if any of the run's files is elsewhere: training would read and write there."""
    for path in (paths.params(run), paths.result(run), paths.environment(run), *paths.of_epochs(run)):
        files.require_within(path, run)

"""From which epoch runs can go on: the last one that is whole, whatever befell their files."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.record import Missing, Record, check_optimizer, check_state, read_whole_records
from zoo.node.node import Node
from zoo.run.record import finished_records, require_own_files

Tell = Callable[[Path, str], None]  # is given a run, and what was done about its damaged files


def tell(run: Path, what: str) -> None:
    print(run, what, file=sys.stderr, flush=True)


def from_common_epochs(nodes: Sequence[Node], tell: Tell = tell) -> list[tuple[int, list[Node]]]:
    """Which nodes can go on together, and from which whole epoch: each from the last it can, or one before.

    A node that can't go on from the epoch of the others is trained for itself, from the one that it can.
    """
    groups = []
    left = {node: resumable(node.run, tell) for node in nodes}
    while left:
        epoch = min(epochs[-1] for epochs in left.values())
        members = [node for node, epochs in left.items() if epoch in epochs]
        groups.append((epoch, members))
        left = {node: epochs for node, epochs in left.items() if node not in members}
    return groups


def resumable(run: Path, tell: Tell = tell) -> list[int]:
    """The epochs, ascending, that training can go on from; 0 alone is also to begin.

    Where files are damaged, the records of the epochs from there on are removed, and `tell` says so. Raises ZooError
    if files of the run are links that lead out of it.
    """
    require_own_files(run)
    records, damage = read_whole_records(run)
    if not records and paths.result(run).exists():
        damage = damage or f"{paths.result(run)} is empty"
    whole, damaged_state = with_whole_states(run, records)
    epochs, damaged_optimizer = with_whole_optimizers(run, whole)
    if reason := damaged_state or damage or damaged_optimizer:
        place = f"goes on from epoch {epochs[-1]}" if epochs else "begins again"
        tell(run, f"{place}: {reason}")
        keep_whole(run, len(whole), epochs)
    return epochs or [0]


def with_whole_states(run: Path, records: Sequence[Record]) -> tuple[list[Record], str | None]:
    """The records up to the first whose state is damaged, and what is wrong with that."""
    for epoch, record in enumerate(records):
        try:
            check_state(run, record)
        except ZooError:
            return list(records[:epoch]), f"{paths.checkpoint(run, epoch)} is missing or damaged"
    return list(records), None


def with_whole_optimizers(run: Path, records: Sequence[Record]) -> tuple[list[int], str | None]:
    """The epochs whose optimizer state is there and whole, and what is wrong with the last epoch's."""
    epochs: list[int] = []
    damage = None
    for epoch, record in enumerate(records):
        try:
            check_optimizer(run, record)
            epochs.append(epoch)
        except ZooError:  # of older epochs there is none
            damage = f"{paths.optimizer(run, epoch)} is missing or damaged" if record is records[-1] else None
    if damage and not epochs:  # as of a finished run that is to train for more epochs
        damage += ", and no older one is kept"
    return epochs, damage


def keep_whole(run: Path, records: int, optimizers: Sequence[int]) -> None:
    """Remove all but the first records, and all optimizer states but those of some epochs."""
    for path in set(paths.optimizers(run)) - {paths.optimizer(run, epoch) for epoch in optimizers}:
        path.unlink()
    keep_records(run, records)


def keep_records(run: Path, count: int) -> None:
    """Cut result.json off after so many records, so that the next can be appended."""
    path = paths.result(run)
    content = path.read_bytes() if path.exists() else b""
    kept = b"".join(line + b"\n" for line in content.splitlines()[:count])
    if not kept:
        path.unlink(missing_ok=True)
    elif kept != content:
        files.write_bytes(path, kept)


def finish(node: Node, tell: Tell = tell) -> bool:
    """Whether the run has nothing left to train; if so, only the latest epoch's optimizer state is kept, if whole."""
    records = finished_records(node)
    if records is None:
        return False
    keep_latest_optimizer(node.run)
    drop_damaged_optimizer(node.run, records[-1], tell)
    return True


def drop_damaged_optimizer(run: Path, last: Record, tell: Tell) -> None:
    """Remove a finished run's optimizer state if it is damaged: nothing but more epochs would need it."""
    path = paths.optimizer(run, last["training_iteration"])
    files.require_within(path, run)
    try:
        check_optimizer(run, last)
    except Missing:
        pass
    except ZooError:
        path.unlink()
        tell(
            run, f"is finished, but its {path.relative_to(run)} was damaged, and is removed: more epochs train it anew"
        )


def keep_latest_optimizer(run: Path) -> None:
    for path in paths.optimizers(run)[:-1]:
        path.unlink(missing_ok=True)


def remove_optimizers(run: Path, before: int) -> None:
    """Remove the optimizer states of the epochs before one, also those that a killed process left."""
    for path in paths.optimizers(run):
        if path < paths.optimizer(run, max(before, 0)):
            path.unlink(missing_ok=True)

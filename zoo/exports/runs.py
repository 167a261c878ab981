"""The runs' own files in a zoo, compact or not."""

import os
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.runs import Place, RunFolders, Runs

opened = cache(Runs)


def own(path: Path, zoo: Path) -> Path:
    """The same path, of a file that lies in the zoo. Raises ZooError for a link to elsewhere, or if there is none."""
    files.require_within(path, zoo)
    if not path.is_file():
        raise ZooError(f"{path} is missing: get the zoo anew, with its models")
    return path


def put(source: Path, target: Path) -> None:
    """The same file under another name, or a copy where the file system has no links to it.

    It is not flushed to disk, as that takes longer than all else, and the export can be made again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def put_file(zoo: Path, node: str, place: Place, folder: Path) -> None:
    """A file of a run."""
    runs = opened(zoo)
    if isinstance(runs.store, RunFolders):
        put(own(runs.store.named(node, place), zoo), place(folder))
    else:
        put_bytes(runs.content(node, place), place(folder))


def put_bytes(content: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def params(zoo: Path, node: str) -> dict[str, Any]:
    return opened(zoo).params(node)


def put_records(zoo: Path, node: str, folder: Path) -> None:
    """What a run says of itself: hyperparameters, records, and by what it was trained, where that is known."""
    for place in (paths.params, paths.result, paths.environment):
        if place is not paths.environment or opened(zoo).has(node, place):
            put_file(zoo, node, place, folder)


def put_checkpoints(zoo: Path, node: str, folder: Path, epochs: Iterable[int]) -> None:
    """A run's states, byte for byte."""
    runs = opened(zoo)
    records = {} if isinstance(runs.store, RunFolders) else dict(enumerate(runs.records(node)))
    for epoch in epochs:

        def place(run: Path, epoch: int = epoch) -> Path:
            return paths.checkpoint(run, epoch)

        if records:
            put_bytes(runs.checkpoint(node, records[epoch]), place(folder))
        else:
            put_file(zoo, node, place, folder)


def put_optimizers(zoo: Path, node: str, folder: Path, epochs: Iterable[int]) -> None:
    """A run's optimizer states, of those epochs for which they were kept."""
    for epoch in epochs:

        def place(run: Path, epoch: int = epoch) -> Path:
            return paths.optimizer(run, epoch)

        if opened(zoo).has(node, place):
            put_file(zoo, node, place, folder)

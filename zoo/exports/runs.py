"""The runs' own files in a zoo."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.reading import json_object


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


def params(zoo: Path, node: str) -> dict[str, Any]:
    return json_object(own(paths.params(paths.runs(zoo) / node), zoo))


def put_records(zoo: Path, node: str, folder: Path) -> None:
    """What a run says of itself: hyperparameters, records, and by what it was trained, where that is known."""
    run = paths.runs(zoo) / node
    for name in (paths.params, paths.result, paths.environment):
        if name is not paths.environment or name(run).exists():
            put(own(name(run), zoo), name(folder))


def put_checkpoints(zoo: Path, node: str, folder: Path, epochs: Iterable[int]) -> None:
    """A run's states, byte for byte."""
    for epoch in epochs:
        put(own(paths.checkpoint(paths.runs(zoo) / node, epoch), zoo), paths.checkpoint(folder, epoch))


def put_optimizers(zoo: Path, node: str, folder: Path, epochs: Iterable[int]) -> None:
    """A run's optimizer states, of those epochs for which they were kept."""
    for epoch in epochs:
        path = paths.optimizer(paths.runs(zoo) / node, epoch)
        if path.exists():
            put(own(path, zoo), paths.optimizer(folder, epoch))

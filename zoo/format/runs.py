"""The runs of a zoo: what was trained, read back model by model."""

import os
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.reading import damaged, is_plain_name, json_object_in, reading
from zoo.format.record import KEPT, OPTIMIZER_DIGEST, STATE_DIGEST, Record, records_in, state_in

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.format.compact import StateMaker

Place = Callable[[Path], Path]  # where a run has a file: `zoo.disk.paths.params`, for one

LARGEST = 2**33  # bytes; a zip file may say that it unpacks to anything


class Store(Protocol):
    """Where the files of all runs are."""

    def nodes(self) -> list[str]: ...

    def has(self, node: str, place: Place) -> bool: ...

    def read(self, node: str, place: Place) -> bytes:
        """Raises whatever is wrong."""

    def named(self, node: str, place: Place) -> Path:
        """The file to be named in an error."""


class RunFolders:
    """A folder for each run."""

    def __init__(self, zoo: Path):
        self.folder = paths.runs(zoo)

    def nodes(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*"))

    def has(self, node: str, place: Place) -> bool:
        return place(self.folder / node).exists()

    def read(self, node: str, place: Place) -> bytes:
        path = place(self.folder / node)
        with reading(path):
            files.require_within(path, self.folder)
            return path.read_bytes()

    def named(self, node: str, place: Place) -> Path:
        return place(self.folder / node)


class RunArchive:
    """One zip file with all of these folders. Nothing is unpacked but the file that is asked for."""

    def __init__(self, zoo: Path):
        self.path = paths.runs_archive(zoo)
        self.file  # noqa: B018  damage is seen now

    @cached_property
    def file(self) -> zipfile.ZipFile:
        with reading(self.path):
            return zipfile.ZipFile(self.path)

    @cached_property
    def sizes(self) -> dict[str, int]:
        return {info.filename: info.file_size for info in self.file.infolist()}

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes open the file anew."""
        return type(self), (self.path.parent,)

    def nodes(self) -> list[str]:
        return sorted({name.split("/")[0] for name in self.sizes})

    def has(self, node: str, place: Place) -> bool:
        return place(Path(node)).as_posix() in self.sizes

    def read(self, node: str, place: Place) -> bytes:
        name = place(Path(node)).as_posix()
        with reading(self.path):
            if name not in self.sizes:
                raise ValueError(f"it lacks {name}")
            if self.sizes[name] > LARGEST:
                raise ValueError(f"{name} would take {self.sizes[name]:,} bytes")
            return self.file.read(name)

    def named(self, node: str, place: Place) -> Path:
        return place(self.path / node)


class Runs:
    """The runs of a zoo, compact or not. What is damaged, missing or elsewhere is a ZooError that names the file."""

    def __init__(self, zoo: Path):
        self.zoo = zoo
        self.store: Store = RunArchive(zoo) if os.path.lexists(paths.runs_archive(zoo)) else RunFolders(zoo)

    def nodes(self) -> list[str]:
        """The names of those that are there, sorted."""
        return self.store.nodes()

    def folder(self, node: str) -> Path:
        """Where the run is, to be named: what a compact zoo has is in no folder."""
        return self.store.named(checked(node), lambda run: run)

    def has(self, node: str, place: Place) -> bool:
        return self.store.has(checked(node), place)

    def content(self, node: str, place: Place, digest: str | None = None) -> bytes:
        """A file of the run. Raises ZooError if there is none, or its sha256 is not `digest`."""
        content = self.store.read(checked(node), place)
        if digest and files.sha256(content) != digest:
            raise damaged(self.store.named(node, place), "its sha256 is not the one in the run's records")
        return content

    def params(self, node: str) -> dict[str, Any]:
        """The node's exact hyperparameters: params.json."""
        return json_object_in(self.store.named(node, paths.params), self.content(node, paths.params))

    def records(self, node: str) -> list[Record]:
        """The node's records, one per epoch from 0."""
        path = self.store.named(node, paths.result)
        return records_in(path, self.content(node, paths.result).splitlines())

    def has_checkpoint(self, node: str, record: Record) -> bool:
        """Whether there is a file of the state that a record belongs to: not of all that were trained elsewhere."""
        epochs = [record["training_iteration"], *[0] * isinstance(self.store, RunArchive)]
        there = any(self.has(node, checkpoint_at(epoch)) for epoch in epochs)
        return there and record.get(KEPT, True) is True

    def checkpoint(self, node: str, record: Record) -> bytes:
        """The file of the state that a record belongs to; that of a compact zoo is made again, to the same bytes."""
        epoch, digest = record["training_iteration"], record.get(STATE_DIGEST)
        if isinstance(self.store, RunArchive) and not self.has(node, checkpoint_at(epoch)):
            return self.maker.file(node, epoch, digest)
        return self.content(node, checkpoint_at(epoch), digest)

    @cached_property
    def maker(self) -> "StateMaker":
        from zoo.format.compact import StateMaker  # PyTorch takes seconds, and params.json has no use for it

        return StateMaker(self.zoo, lambda node: self.content(node, checkpoint_at(0)))

    def state(self, node: str, record: Record) -> "dict[str, Tensor]":
        """The state dict that a record belongs to."""
        path = self.store.named(node, checkpoint_at(record["training_iteration"]))
        return state_in(path, self.checkpoint(node, record))

    def optimizer(self, node: str, record: Record) -> bytes | None:
        """The file of the optimizer state that a record belongs to; None where there is none, as before the last."""
        place = optimizer_at(record["training_iteration"])
        return self.content(node, place, record.get(OPTIMIZER_DIGEST)) if self.has(node, place) else None


def checkpoint_at(epoch: int) -> Place:
    return lambda run: paths.checkpoint(run, epoch)


def optimizer_at(epoch: int) -> Place:
    return lambda run: paths.optimizer(run, epoch)


def checked(node: str) -> str:
    """Raises ZooError for what can't be the name of a node: it may be a path to elsewhere."""
    if not is_plain_name(node):
        raise ZooError(f"{node!r} is no name of a node")
    return node

"""A compact zoo: its runs in one file, without the checkpoints that follow from the weights."""

import shutil
import zipfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from zoo.disk import files, paths
from zoo.disk.folders import DEFLATED, LEVEL
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.reading import damaged
from zoo.format.template import Template
from zoo.format.weights import Weights

FOLDERS, COMPACT = "folders", "compact"
FILES = (FOLDERS, COMPACT)  # how a zoo keeps its runs: the choices of `files`


def leave_out(run: Path, architecture: Architecture, variant: int, states: np.ndarray) -> None:
    """Remove the checkpoints of a run that follow, byte by byte, from that of epoch 0 and from its states.

    `states`: float32 [epochs, parameters]. Of a run whose checkpoints are not as PyTorch writes them, all stay.
    """
    first, *others = paths.checkpoints(run) or [run]  # a zoo made elsewhere can have none
    template = Template.of(first.read_bytes(), architecture, variant) if others else None
    if not template or paths.epoch_of(first):
        return
    for path in others:
        if template.filled(states[paths.epoch_of(path)]) == path.read_bytes():
            path.unlink()
            remove_if_empty(path.parent)


def remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


class RunArchiveWriter:
    """Writes the runs of a compact zoo into one zip file; a context."""

    def __init__(self, zoo: Path):
        self.folder = paths.runs(zoo)
        self.archive = zipfile.ZipFile(paths.runs_archive(zoo), "w", compresslevel=LEVEL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.archive.close()
        if kind is None:
            remove_if_empty(self.folder)

    def take(self, node: str) -> None:
        """Move a run's folder, of which `leave_out` left what is needed, into the file."""
        run = self.folder / node
        for path in sorted(path for path in run.rglob("*") if path.is_file()):
            name = path.relative_to(self.folder).as_posix()
            method = zipfile.ZIP_DEFLATED if path.suffix in DEFLATED else zipfile.ZIP_STORED
            self.archive.write(path, name, method)
        shutil.rmtree(run)


class StateMaker:
    """Makes the checkpoints again that a compact zoo leaves out."""

    def __init__(self, zoo: Path, first: Callable[[str], bytes]):
        """`first`: the content of a node's checkpoint of epoch 0."""
        self.zoo, self.first = zoo, first
        self.template: tuple[str, Template | None] = "", None  # of the last node: one comes after another

    @cached_property
    def architecture(self) -> Architecture:
        return Architecture.load(paths.architecture(self.zoo))

    @cached_property
    def weights(self) -> Weights:
        return Weights(self.zoo)

    @cached_property
    def places(self) -> dict[str, tuple[int, int]]:
        """Row in the weights, and variant, of each node."""
        models = tables.read_models(paths.models(self.zoo), len(self.architecture.variants))
        return dict(zip(models["node"], zip(models["id"], models["variant"], strict=True), strict=True))

    def file(self, node: str, epoch: int, digest: str | None) -> bytes:
        """The checkpoint of a node's epoch. Raises ZooError if it can't be made, or its sha256 is not `digest`."""
        archive = paths.runs_archive(self.zoo)
        if node not in self.places or epoch >= self.weights.shape[1]:
            raise damaged(archive, f"{paths.models(self.zoo).name} has no state of {node} at epoch {epoch}")
        row, variant = self.places[node]
        if self.template[0] != node:
            self.template = node, Template.of(self.first(node), self.architecture, variant)
        template = self.template[1]
        if template is None:
            raise damaged(archive, f"it lacks the checkpoint of {node} at epoch {epoch}")
        made = template.filled(self.weights.state(row, epoch).numpy())
        if digest and files.sha256(made) != digest:
            raise damaged(archive, f"the state of {node} at epoch {epoch} is not the one in the run's records")
        return made

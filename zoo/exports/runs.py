"""The runs' own files, of whatever is exported: a zoo in a folder, compact or not, its zip file, a sweep, a raw zoo."""

import json
import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from zoo.dataset.folder import ZooFolder, ZooSource
from zoo.dataset.zip_file import ZooZip
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.exports.many_files import opened
from zoo.foreign.container import RECORDS, STATE, TEXT
from zoo.foreign.released import Released
from zoo.format.reading import checking
from zoo.format.runs import Place, RunFolders, checkpoint_at, optimizer_at
from zoo.format.template import Template


class RunFiles(Protocol):
    """Of all models, by their ids. What is damaged or elsewhere is a ZooError that names it."""

    def config(self) -> bytes: ...

    def content(self, model: int, place: Place) -> "bytes | Path | None":
        """What the run says of itself in a file; None if there is none."""

    def checkpoint(self, model: int, epoch: int) -> "bytes | Path | None":
        """The file of a state; None where the run has no such files."""

    def optimizer(self, model: int, epoch: int) -> "bytes | Path | None": ...


class OfFolder:
    def __init__(self, source: ZooFolder):
        self.source, self.runs = source, source.runs
        self.records = cache(self.runs.records)
        self.has_states = cache(lambda node: bool(paths.checkpoints(self.runs.folder(node))))

    def config(self) -> bytes:
        return own(paths.config(self.source.path), self.source.path).read_bytes()

    def content(self, model: int, place: Place) -> bytes | Path | None:
        node = self.source.node(model)
        if isinstance(self.runs.store, RunFolders):
            path = self.runs.store.named(node, place)
            return own(path, self.source.path) if path.exists() else None
        return self.runs.content(node, place) if self.runs.has(node, place) else None

    def checkpoint(self, model: int, epoch: int) -> bytes | Path | None:
        node = self.source.node(model)
        if isinstance(self.runs.store, RunFolders):
            path = paths.checkpoint(self.runs.folder(node), epoch)
            return own(path, self.source.path) if self.has_states(node) else None
        record = self.records(node)[epoch]
        return self.runs.checkpoint(node, record) if self.runs.has_checkpoint(node, record) else None

    def optimizer(self, model: int, epoch: int) -> bytes | Path | None:
        return self.content(model, optimizer_at(epoch))


class OfZip:
    def __init__(self, source: ZooZip):
        self.source = source
        self.template = cache(self.template_of)

    def config(self) -> bytes:
        return self.source.content(paths.config(self.source.root))

    def content(self, model: int, place: Place) -> bytes | None:
        return self.source.run_file(model, place)

    def checkpoint(self, model: int, epoch: int) -> bytes | None:
        if found := self.content(model, checkpoint_at(epoch)):
            return found
        template = self.template(model)  # of a compact zoo
        return template.filled(self.source.weights.state(model, epoch).numpy()) if template else None

    def template_of(self, model: int) -> Template | None:
        first = self.content(model, checkpoint_at(0))
        variant = int(self.source.models["variant"].iat[model])
        return Template.of(first, self.source.architecture, variant) if first else None

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        return self.content(model, optimizer_at(epoch))


class OfRaw:
    """A sweep, or a zoo in the layout of 2022, which names checkpoints in more than one way."""

    def __init__(self, source: Released):
        self.source = source

    def config(self) -> bytes:
        name = self.source.inside(paths.config(Path()).name)
        if self.source.files.has(name):
            return self.source.files.read(name, TEXT)
        return json.dumps({"search_pattern": self.source.search_pattern}, indent=2).encode()

    def content(self, model: int, place: Place) -> bytes | None:
        return self.read(model, place(Path()).as_posix(), RECORDS)

    def checkpoint(self, model: int, epoch: int) -> bytes | None:
        return self.source.checkpoint(model, epoch)

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        state = self.source.checkpoints[self.source.nodes[model]][epoch]
        return self.read(model, Path(state).with_name(paths.optimizer(Path(), epoch).name).as_posix(), STATE)

    def read(self, model: int, name: str, most: int) -> bytes | None:
        name = self.source.inside(self.source.nodes[model], name)
        return self.source.files.read(name, most) if self.source.files.has(name) else None


@cache
def files_of(zoo: Path) -> RunFiles:
    source = opened(zoo).source
    if isinstance(source, ZooFolder):
        return OfFolder(source)
    if isinstance(source, ZooZip):
        return OfZip(source)
    if isinstance(source, Released):
        return OfRaw(source)
    raise ZooError(
        f"{zoo} has no runs, which this format is made of: `python -m zoo convert` makes a zoo of it, to be exported"
    )


def was_made_here(zoo: Path) -> bool:
    """Whether it is a zoo of this project's own models."""
    source = opened(zoo).source
    return isinstance(source, ZooSource) and "converted" not in source.json(paths.config(source.root))


def own(path: Path, zoo: Path) -> Path:
    """The same path, of a file that lies in the zoo. Raises ZooError for a link to elsewhere, or if there is none."""
    files.require_within(path, zoo)
    if not path.is_file():
        raise ZooError(f"{path} is missing: get the zoo anew, with its models")
    return path


def put(found: bytes | Path, target: Path) -> None:
    """Another name of the same file, or its content where the file system has no links to it.

    It is not flushed to disk, as that takes longer than all else, and the export can be made again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(found, bytes):
        target.write_bytes(found)
    elif not files.linked(found, target):
        shutil.copyfile(found, target)


def put_records(zoo: Path, model: int, folder: Path) -> None:
    """What a run says of itself: hyperparameters, records, and by what it was trained, where that is known."""
    for place in (paths.params, paths.result, paths.environment):
        if (found := files_of(zoo).content(model, place)) is not None:
            put(found, place(folder))


def put_optimizers(zoo: Path, model: int, folder: Path, epochs: Iterable[int]) -> None:
    """A run's optimizer states, of those epochs for which they were kept."""
    for epoch in epochs:
        if (found := files_of(zoo).optimizer(model, epoch)) is not None:
            put(found, paths.optimizer(folder, epoch))


def records(zoo: Path, model: int) -> list[dict[str, Any]]:
    """What a run's result.json says, by epoch."""
    source = opened(zoo).source
    if isinstance(source, Released):
        return [{"training_iteration": epoch, **record} for epoch, record in sorted(source.history(model).items())]
    name = paths.result(Path(str(source.models["node"].iat[model])))
    found = files_of(zoo).content(model, paths.result)
    if found is None:
        raise ZooError(f"{zoo} lacks {name}: get the zoo anew, with its models")
    content = found.read_bytes() if isinstance(found, Path) else found
    with checking(f"{name} in {zoo}"):
        return [json.loads(line) for line in content.splitlines()]

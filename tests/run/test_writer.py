"""Writing beside training: in order, one epoch behind, nothing lost at whichever moment the process ends."""

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import prepare
from tests.run.test_run import Interruption, assert_same_states
from zoo.disk import files, paths
from zoo.engines import lanes
from zoo.format.record import read_records
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.run import writer
from zoo.run.pack import Pack
from zoo.run.run import train

Nodes = Callable[..., list[Node]]
EPOCHS = 3
COMMAND = ["seed=0,1", "model.dropout=0.5", f"trainer.max_epochs={EPOCHS}"]  # of the fixture `sweep`


@pytest.fixture
def nodes(grid: Callable[..., Grid], tmp_path: Path) -> Nodes:
    """`nodes(name, *overrides)`: the nodes of a prepared sweep of that name; without more, two of a pack."""

    def nodes(name: str, *overrides: str) -> list[Node]:
        places = [f"sweeps={tmp_path}/{name}", f"data.cache={tmp_path}/cache", "zoo.name=tiny"]
        return prepare(grid(*places, *COMMAND, *overrides))

    return nodes


@pytest.fixture
def threads() -> Iterator[None]:
    """No thread is left that writes."""
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("writer")]


def train_all(nodes: list[Node]) -> None:
    if lanes.available():
        train(nodes, paths.images(nodes[0].sweep))
        return
    for node in nodes:
        train([node], paths.images(node.sweep))


@pytest.mark.usefixtures("threads")
def test_the_next_epoch_is_trained_while_one_is_written(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first epoch's files are written only when the second is trained; the third waits for them."""
    happened: list[str] = []
    trained = [threading.Event() for _ in range(EPOCHS + 1)]
    step, write = Pack.training_step, writer.write

    def stepping(pack: Pack, *arguments: Any) -> None:
        step(pack, *arguments)
        happened.append(f"trained {pack.epoch}")
        trained[pack.epoch].set()

    def writing(epochs: list[writer.Epoch]) -> None:
        assert trained[min(epochs[0].number + 1, EPOCHS)].wait(timeout=60)
        write(epochs)
        happened.append(f"written {epochs[0].number}")

    monkeypatch.setattr(Pack, "training_step", stepping)
    monkeypatch.setattr(writer, "write", writing)
    [node] = nodes("sweep", "seed=0")
    train([node], paths.images(node.sweep))
    assert [line for line in happened if line.startswith("written")] == [f"written {epoch}" for epoch in range(4)]
    for epoch in range(EPOCHS):
        assert happened.index(f"trained {epoch + 1}") < happened.index(f"written {epoch}")
    for epoch in range(EPOCHS - 1):
        assert happened.index(f"written {epoch}") < happened.index(f"trained {epoch + 2}")
    assert len(read_records(node.run)) == EPOCHS + 1


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("number", [0, 1, EPOCHS])
def test_what_fails_there_ends_the_training(nodes: Nodes, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As an error of the storage, and with what was written before: also in the last epoch."""
    append_all = files.append_all

    def full(lines: dict[Path, str]) -> None:
        if f'"training_iteration": {number},' in next(iter(lines.values())):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append_all(lines)

    [node] = nodes("sweep", "seed=0")
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left on device") as caught:
        patched.setattr(files, "append_all", full)
        train([node], paths.images(node.sweep))
    assert files.is_storage(caught.value)
    assert len(read_records(node.run)) == number
    train([node], paths.images(node.sweep))
    assert len(read_records(node.run)) == EPOCHS + 1


@pytest.mark.usefixtures("threads")
def test_an_error_of_the_training_waits_for_what_is_written(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes the run's lock next must be alone with its files."""
    step = Pack.training_step

    def failing(pack: Pack, *arguments: Any) -> None:
        if pack.epoch == 1:
            raise Interruption
        step(pack, *arguments)

    monkeypatch.setattr(Pack, "training_step", failing)
    [node] = nodes("sweep", "seed=0")
    with pytest.raises(Interruption):
        train([node], paths.images(node.sweep))
    assert len(read_records(node.run)) == 2


class Moments:
    """Copies the sweep before its writer's changes on disk, as a process killed then would leave it."""

    def __init__(self, folder: Path, copies: Path, every: int):
        """`every`: how many of the changes there are between two copies."""
        self.folder, self.copies, self.every = folder, copies, every
        self.count = 0
        self.kept: list[Path] = []

    def copy(self) -> Path | None:
        self.count += 1
        if self.count % self.every:
            return None
        self.kept.append(shutil.copytree(self.folder, self.copies / str(self.count), symlinks=True))
        return self.kept[-1]

    def before(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **options: Any) -> Any:
            if threading.current_thread().name.startswith("writer"):
                self.copy()
            return change(*arguments, **options)

        return changed

    def appended(self, path: Path, text: str) -> None:
        """In the middle of the line, too."""
        if copy := self.copy():
            with (copy / path.relative_to(self.folder)).open("a") as file:
                file.write(text[: len(text) // 2])
        self.copy()
        with path.open("a") as file:
            file.write(text)


@pytest.mark.parametrize("every", [19, pytest.param(2, marks=pytest.mark.slow)])
def test_a_process_killed_at_any_moment(
    sweep: Path, tmp_path: Path, nodes: Nodes, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    there = nodes("sweep")
    moments = Moments(tmp_path / "sweep", tmp_path / "copies", every)
    with monkeypatch.context() as patched:
        for owner, name in ((Path, "mkdir"), (Path, "write_bytes"), (os, "replace"), (Path, "unlink")):
            patched.setattr(owner, name, moments.before(getattr(owner, name)))
        patched.setattr(files, "append", moments.appended)
        train_all(there)
    assert moments.count > 60
    for copy in moments.kept:
        shutil.rmtree(tmp_path / "sweep")
        copy.rename(tmp_path / "sweep")
        there = nodes("sweep")
        before = {path: path.read_bytes() for node in there for path in recorded(node.run)}
        for node in there:
            files.remove_leftovers(node.run)  # as workers do
        train_all(there)
        for node in there:
            assert_same_states(node.run, sweep / node.name, EPOCHS)
            assert [record["training_iteration"] for record in read_records(node.run)] == list(range(EPOCHS + 1))
            assert paths.optimizers(node.run) == [paths.optimizer(node.run, EPOCHS)]
        assert all(path.read_bytes() == content for path, content in before.items())
        assert not list((tmp_path / "sweep").rglob("*.tmp"))


def recorded(run: Path) -> list[Path]:
    """The states of a run's records, each of which must be there."""
    return [paths.checkpoint(run, record["training_iteration"]) for record in read_records(run)]

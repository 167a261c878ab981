"""What a worker does with a run that it can't have, with storage that fails; what it leaves of a task that fails."""

import errno
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import zoo.run.run
from tests.conftest import prepare
from tests.typed import InThisProcess
from zoo.disk import locks, paths
from zoo.launch.launch import Task, after_death, failed_together, tally_of, train_tasks
from zoo.launch.worker import Outcome, work
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.run.resumption import Tell


@pytest.fixture
def nodes(grid: Callable[..., Grid], tmp_path: Path) -> list[Node]:
    places = [f"sweeps={tmp_path}/sweeps", f"data.cache={tmp_path}/cache", "zoo.name=tiny", "trainer.max_epochs=1"]
    return prepare(grid(*places, "seed=range(0,3)"))


def test_a_run_that_another_process_holds_fails_alone(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    monkeypatch.setattr(zoo.run.run, "train", lambda nodes, *_: trained.extend(node.name for node in nodes))
    with locks.locked(paths.lock(nodes[1].run)):
        first, second, third = work(nodes, patience=0.1)
    assert first.error is None and third.error is None
    assert trained == [nodes[0].name, nodes[2].name]
    assert f"another process holds {paths.lock(nodes[1].run)} (process " in (second.error or "")
    assert not second.storage and "another process holds" in paths.error(nodes[1].run).read_text()


def test_a_log_that_is_a_link_is_not_emptied(nodes: list[Node], tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    nodes[0].run.mkdir()
    paths.log(nodes[0].run).symlink_to(tmp_path / "precious")
    [outcome] = work(nodes[:1])
    assert "log.txt is a symbolic link" in (outcome.error or "")
    assert (tmp_path / "precious").read_text() == "content"


def test_a_full_disk_is_known_behind_another_error(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("PytorchStreamWriter failed") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zoo.run.run, "train", fails)
    outcomes = work(nodes)
    assert len(outcomes) == 3 and all(outcome.storage for outcome in outcomes)


def test_why_a_pack_failed_is_kept(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = nodes[:2]

    def train(nodes: Sequence[Node], *_: object) -> None:
        os.write(1, b"together" if len(nodes) > 1 else b"alone")  # pytest has replaced sys.stdout
        if len(nodes) > 1:
            raise ArithmeticError("too many")

    monkeypatch.setattr("zoo.run.run.train", train)
    outcomes = work(nodes)
    assert [(outcome.run, outcome.error) for outcome in outcomes] == [(node.run, None) for node in nodes]
    assert {outcome.pack_error for outcome in outcomes} == {"ArithmeticError: too many"}
    text = paths.pack_error(nodes[0].run).read_text()
    assert "Traceback" in text and "ArithmeticError: too many" in text
    assert f"trained together:\n{nodes[0].name}\n{nodes[1].name}\n" in text
    assert "log:\ntogether" in text and "alone" not in text
    assert not paths.pack_error(nodes[1].run).exists() and not paths.error(nodes[0].run).exists()


def test_what_was_damaged_is_part_of_the_outcome(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the pack fails after the damaged files have been put away, and the run is trained alone."""

    def train(nodes: Sequence[Node], images: Path, tell: Tell) -> None:
        if len(nodes) > 1:
            tell(nodes[1].run, "begins again: torn")
            raise ArithmeticError("too many")

    assert [outcome.error for outcome in work(nodes[:2])] == [None, None]
    paths.result(nodes[1].run).write_bytes(b"")
    first, second = work(nodes[:2])
    assert first.damage is None and second.damage == f"begins again: {paths.result(nodes[1].run)} is empty"
    monkeypatch.setattr("zoo.run.run.train", train)
    assert [outcome.damage for outcome in work(nodes)] == [None, "begins again: torn", None]


def test_what_was_damaged_is_said(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def outcome(nodes: Sequence[Node]) -> list[Outcome]:
        return [Outcome(nodes[0].run, damage="begins again: torn")]

    workers = InThisProcess(1)
    submit = workers.submit
    monkeypatch.setattr(workers, "submit", lambda _, nodes: submit(outcome, nodes))
    train_tasks([Task(nodes[:1])], workers, tally_of(nodes))
    assert f"{nodes[0].run} begins again: torn\n" in capsys.readouterr().err


def test_why_a_pack_died_is_kept(nodes: list[Node]) -> None:
    nodes = nodes[:2]
    waiting: deque[Task] = deque()
    assert after_death(Task(nodes), RuntimeError("SIGKILL\n(9)"), waiting) == []
    assert [task.nodes for task in waiting] == [[nodes[0]], [nodes[1]]] and all(task.deaths == 1 for task in waiting)
    text = paths.pack_error(nodes[0].run).read_text()
    assert text.startswith("The worker process died: SIGKILL (9)") and nodes[1].name in text


def test_a_line_says_so(nodes: list[Node]) -> None:
    assert failed_together(nodes[:2], "ArithmeticError: too many") == (
        "2 models failed together, so each is trained alone: ArithmeticError: too many "
        f"({paths.pack_error(nodes[0].run)})"
    )

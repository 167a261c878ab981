"""What a worker leaves of a task that fails."""

import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.conftest import prepare
from zoo.disk import paths
from zoo.launch.launch import Task, after_death, failed_together
from zoo.launch.worker import work
from zoo.node.grid import Grid
from zoo.node.node import Node


@pytest.fixture
def nodes(grid: Callable[..., Grid], tmp_path: Path) -> list[Node]:
    places = [f"sweeps={tmp_path}/sweeps", f"data.cache={tmp_path}/cache", "zoo.name=tiny", "trainer.max_epochs=1"]
    return prepare(grid(*places, "seed=0,1"))


def test_why_a_pack_failed_is_kept(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    def train(nodes: Sequence[Node], images: Path) -> None:
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


def test_why_a_pack_died_is_kept(nodes: list[Node]) -> None:
    waiting: deque[Task] = deque()
    assert after_death(Task(nodes), RuntimeError("SIGKILL\n(9)"), waiting) == []
    assert [task.nodes for task in waiting] == [[nodes[0]], [nodes[1]]] and all(task.deaths == 1 for task in waiting)
    text = paths.pack_error(nodes[0].run).read_text()
    assert text.startswith("The worker process died: SIGKILL (9)") and nodes[1].name in text


def test_a_line_says_so(nodes: list[Node]) -> None:
    assert failed_together(nodes, "ArithmeticError: too many") == (
        "2 models failed together, so each is trained alone: ArithmeticError: too many "
        f"({paths.pack_error(nodes[0].run)})"
    )

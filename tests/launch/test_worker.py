"""What a worker does with a run that it can't have, and with storage that fails."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import zoo.run.run
from tests.conftest import prepare
from zoo.disk import locks, paths
from zoo.launch.worker import work
from zoo.node.grid import Grid
from zoo.node.node import Node


@pytest.fixture
def nodes(grid: Callable[..., Grid], tmp_path: Path) -> list[Node]:
    return prepare(grid(f"sweeps={tmp_path}", f"data.cache={tmp_path}", "seed=range(0,3)", "trainer.max_epochs=1"))


def test_a_run_that_another_process_holds_fails_alone(nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    monkeypatch.setattr(zoo.run.run, "train", lambda nodes, images: trained.extend(node.name for node in nodes))
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

"""A Dask worker's training processes, without Dask's worker."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tasks import tell_process

pytest.importorskip("distributed")

from zoo.launch import training_process  # noqa: E402  what it needs may be missing
from zoo.launch.local import ProcessDied
from zoo.launch.training_process import train


class Process:
    """Stands for a training process that ends as it is told to, or else answers."""

    def __init__(self, ends: str | None = None):
        self.ends = ends
        self.connection = self.process = self

    def poll(self, wait: float | None = None) -> bool | None:
        return None if wait is None else True

    def send(self, task: object) -> None:
        if self.ends == "broken":
            raise BrokenPipeError

    def recv(self) -> str:
        if self.ends:
            raise EOFError
        return "outcomes"

    def end(self, patience: float = 0.0) -> str:
        return "exit code 0" if self.ends == "broken" else str(self.ends)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(training_process, "get_worker", lambda: SimpleNamespace(get_current_task=lambda: "task"))
    monkeypatch.setattr(training_process, "idle", [])
    return SimpleNamespace(sweep=tmp_path, run=tmp_path / "run")


@pytest.mark.parametrize("ends", ["exit code 0", "broken"])
def test_one_that_ends_before_it_sees_the_task_is_replaced(
    node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr(training_process, "TrainingProcess", Process)
    training_process.idle.append(Process(ends))
    assert train(tmp_path, tell_process, [node]) == "outcomes"
    assert len(training_process.idle) == 1


@pytest.mark.parametrize("was_idle", [True, False])
def test_one_that_dies_of_the_task_is_not(
    node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was_idle: bool
) -> None:
    monkeypatch.setattr(training_process, "TrainingProcess", lambda: Process("SIGKILL"))
    if was_idle:
        training_process.idle.append(Process("SIGKILL"))
    with pytest.raises(ProcessDied, match="SIGKILL on "):
        train(tmp_path, tell_process, [node])
    assert training_process.idle == []


def test_a_new_one_that_exits_is_not_replaced_for_ever(
    node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_process, "TrainingProcess", lambda: Process("exit code 0"))
    with pytest.raises(ProcessDied, match="exit code 0 on "):
        train(tmp_path, tell_process, [node])


def test_one_that_is_alive_is_killed() -> None:
    training = training_process.TrainingProcess()
    assert training.end() == "SIGKILL"

"""Workers on this machine: real processes, that die when they have nothing to do."""

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tasks import tell_process
from zoo.launch import local


@pytest.fixture(autouse=True)
def light_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "TRAINING", ())  # whose import takes seconds


def done_by(workers: local.LocalWorkers) -> int:
    """The process that a task was done in."""
    node: Any = SimpleNamespace(run=Path("run"))
    future = workers.submit(tell_process, [node])
    [outcome] = future.result(timeout=60)
    workers.ended(future)
    return int(outcome.error or 0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_died_idle_is_replaced(how: signal.Signals) -> None:
    workers = local.LocalWorkers(1)
    try:
        process = done_by(workers)
        os.kill(process, how)
        deadline = time.monotonic() + 30
        while not workers.idle[0].has_died():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert done_by(workers) not in (process, os.getpid())
        assert workers.capacity() == 1
    finally:
        workers.stop()


def test_workers_grow_and_shrink() -> None:
    workers = local.LocalWorkers(1)
    try:
        first = done_by(workers)
        workers.grow(2)
        assert (workers.processes, workers.capacity()) == (2, 2)
        workers.grow(1)
        assert workers.processes == 2
        workers.limit(1)
        assert (workers.processes, workers.capacity()) == (1, 1)
        assert done_by(workers) == first
    finally:
        workers.stop()

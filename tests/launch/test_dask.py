"""Sweeps on Dask: real schedulers, workers and signals, on this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.conftest import train_sweep
from tests.launch.test_launch import ROOT, SWEEP, assert_same_sweep, epochs, start, wait_for_epochs
from tests.run.test_run import assert_same_states
from tests.tasks import die, go_on_forever, tell_process
from tests.test_commands import train
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.launch.worker import Outcome
from zoo.node.grid import Grid
from zoo.node.node import Node

pytest.importorskip("distributed")

from zoo.launch.dask import DaskWorkers  # noqa: E402  what it needs may be missing
from zoo.launch.local import ProcessDied


class Cluster:
    """A scheduler, and workers that one can kill, each a process."""

    def __init__(self, folder: Path, workers: int):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        host, port = self.address.removeprefix("tcp://").split(":")
        self.scheduler = self.start("scheduler", "--host", host, "--port", port, "--no-dashboard")
        self.workers = [self.start_worker() for _ in range(workers)]

    def start_worker(self, *arguments: str) -> "subprocess.Popen[bytes]":
        plain = arguments or ("--no-nanny", "--nthreads", "1")
        return self.start("worker", self.address, *plain, "--no-dashboard", "--local-directory", str(self.folder))

    def start(self, kind: str, *arguments: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with (self.folder / "dask.log").open("a") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def end(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Cluster]]:
    """`cluster(count)` has so many workers with one thread."""
    started: list[Cluster] = []

    def start_cluster(workers: int) -> Cluster:
        started.append(Cluster(tmp_path_factory.mktemp("dask"), workers))
        return started[-1]

    yield start_cluster
    for one in started:
        one.end()


@pytest.fixture
def node(tmp_path: Path, grid: Callable[..., Grid]) -> Node:
    (tmp_path / "tiny").mkdir()
    return next(iter(grid(f"sweeps={tmp_path}", "zoo.name=tiny")))


def process_of_endless(node: Node) -> int:
    while not (paths.log(node.run).exists() and paths.log(node.run).read_text()):
        time.sleep(0.05)
    return int(paths.log(node.run).read_text())


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def done(workers: DaskWorkers, future: "Future[list[Outcome]]") -> "Future[list[Outcome]]":
    future.exception(timeout=60)
    workers.ended(future)
    return future


def test_tasks_are_done_apart_and_deaths_reported(node: Node) -> None:
    workers = DaskWorkers(None, None, 1, runs=5)
    try:
        assert workers.processes == 1
        [first] = done(workers, workers.submit(tell_process, [node])).result()
        [again] = done(workers, workers.submit(tell_process, [node])).result()
        assert first.run == node.run and int(first.error) != os.getpid() and first == again
        death = done(workers, workers.submit(die, [node])).exception()
        assert isinstance(death, ProcessDied) and "SIGKILL" in str(death)
        [other] = done(workers, workers.submit(tell_process, [node])).result()
        assert other != first
        assert workers.capacity() == 1000
        node.sweep.rmdir()
        [unseen] = done(workers, workers.submit(tell_process, [node])).result()
        assert unseen.storage and "all machines must share it" in unseen.error
    finally:
        workers.stop()


def test_a_worker_that_leaves_hands_its_runs_to_the_next_and_stopping_leaves_that(
    node: Node, cluster: Callable[[int], Cluster]
) -> None:
    machines = cluster(1)
    workers = DaskWorkers(machines.address, None, None, runs=1)
    try:
        future = workers.submit(go_on_forever, [node])
        process = process_of_endless(node)
        paths.log(node.run).unlink()
        machines.workers[0].send_signal(signal.SIGTERM)  # as batch systems do when the time is up
        wait_until(lambda: not is_alive(process))
        machines.workers.append(machines.start_worker())
        next_process = process_of_endless(node)
        assert is_alive(next_process) and not future.done()
        began = time.monotonic()
    finally:
        workers.stop()
    wait_until(lambda: not is_alive(next_process))
    assert time.monotonic() - began < 5
    assert machines.workers[1].poll() is None


@pytest.mark.slow
def test_a_lost_scheduler_is_one_clear_error(
    node: Node, cluster: Callable[[int], Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = cluster(1)
    workers = DaskWorkers(machines.address, None, None, runs=1)
    future = workers.submit(go_on_forever, [node])
    process = process_of_endless(node)
    machines.scheduler.kill()
    with pytest.raises(ZooError, match=f"lost the Dask scheduler at {machines.address}"):
        done(workers, future)
    monkeypatch.setattr("zoo.launch.dask.MOST_WAITING", 0)  # so that it is asked for the number of its threads
    with pytest.raises(ZooError, match="lost the Dask scheduler"):
        workers.capacity()
    workers.stop()
    wait_until(lambda: not is_alive(process))


@pytest.mark.slow
def test_a_task_that_outlives_no_machine_is_reported(node: Node, cluster: Callable[[int], Cluster]) -> None:
    machines = cluster(4)  # one more than Dask's distributed.scheduler.allowed-failures
    workers = DaskWorkers(machines.address, None, None, runs=1)
    try:
        future = workers.submit(go_on_forever, [node])
        for _ in machines.workers:
            process = process_of_endless(node)
            paths.log(node.run).unlink()
            os.kill(parent(process), signal.SIGKILL)
        assert "4 different workers" in str(done(workers, future).exception())
    finally:
        workers.stop()


@pytest.mark.parametrize(
    ("address", "chosen", "message"),
    [
        ("nonsense", None, "no Dask scheduler answers there"),
        ("tcp://127.0.0.1:9", {"_target_": "distributed.LocalCluster"}, "leave out hydra.launcher.cluster"),
        (None, {"_target_": "distributed.Locall"}, "Locall"),
    ],
)
def test_bad_input(address: str | None, chosen: dict[str, str] | None, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        DaskWorkers(address, chosen, None, runs=1)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_sweep(tmp_path_factory.mktemp("undisturbed"), *SWEEP[1:])[0].sweep


def told(output: str) -> list[str]:
    """The lines that don't just say how far it is."""
    return [line for line in output.splitlines() if not re.match(r"preparing 60 images|\d+/24 epochs", line)]


DASK = ["hydra/launcher=dask", "hydra.launcher.pack_size=1"]


@pytest.mark.slow
def test_without_arguments_it_trains_on_this_machine(tmp_path: Path, undisturbed: Path) -> None:
    finished = train(tmp_path, *SWEEP, *DASK, "hydra.launcher.n_jobs=2")
    assert finished.returncode == 0, finished.stderr
    [last] = told(finished.stderr)
    assert last.startswith("4 runs done")
    assert_same_sweep(tmp_path, undisturbed)


@pytest.mark.slow
def test_any_cluster_can_be_started(tmp_path: Path, undisturbed: Path) -> None:
    arguments = "n_workers: 0, threads_per_worker: 1, dashboard_address: '127.0.0.1:0'"
    chosen = f"hydra.launcher.cluster={{_target_: distributed.LocalCluster, {arguments}}}"
    finished = train(tmp_path, *SWEEP, *DASK, chosen, "hydra.launcher.n_jobs=2")
    assert finished.returncode == 0, finished.stderr
    waiting, last = told(finished.stderr)
    assert waiting.startswith("Waiting for the first Dask worker") and last.startswith("4 runs done")
    assert_same_sweep(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_worker_killed_in_mid_run(tmp_path: Path, undisturbed: Path, cluster: Callable[[int], Cluster]) -> None:
    machines = cluster(2)
    process = start(tmp_path, *SWEEP, *DASK, "hydra.launcher.n_jobs=null", f"hydra.launcher.address={machines.address}")
    wait_for_epochs(process, tmp_path, 3)
    machines.workers[0].kill()
    _, output = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert_same_sweep(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_run_that_kills_its_process_fails_alone(tmp_path: Path, cluster: Callable[[int], Cluster]) -> None:
    machines = cluster(1)
    faults = ["-m", "model=fragile", "model.faults={1:raise,2:kill}", "seed=range(0,3)"]
    failed = train(tmp_path, *faults, *DASK, f"hydra.launcher.address={machines.address}")
    assert failed.returncode == 1
    assert "2 of 3 runs failed" in failed.stderr and "Traceback" not in failed.stderr
    assert "its worker process died, twice: SIGKILL" in failed.stderr
    assert "ArithmeticError: no such luck" in failed.stderr
    assert epochs(tmp_path) == 1
    assert machines.workers[0].poll() is None


LONG = ["-m", "seed=1,2", "trainer.max_epochs=150"]


@pytest.fixture(scope="module")
def undisturbed_long(tmp_path_factory: pytest.TempPathFactory) -> list[Node]:
    return train_sweep(tmp_path_factory.mktemp("long"), *LONG[1:])


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_launcher_that_ends(
    tmp_path: Path, undisturbed_long: list[Node], cluster: Callable[[int], Cluster], how: signal.Signals
) -> None:
    machines = cluster(0)
    machines.workers.append(machines.start_worker("--nthreads", "2"))  # with a nanny
    address = f"hydra.launcher.address={machines.address}"
    process = start(tmp_path, *LONG, *DASK, address)
    wait_for_epochs(process, tmp_path, 10)
    process.send_signal(how)
    _, output = process.communicate(timeout=30)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "Stopped: " in output and "Traceback" not in output
    time.sleep(2)
    reached = epochs(tmp_path)
    time.sleep(1)
    assert reached == epochs(tmp_path) < 300  # nobody trains on
    finished = train(tmp_path, *LONG, *DASK, address)
    assert finished.returncode == 0, finished.stderr
    for node in undisturbed_long:
        assert_same_states(tmp_path / "sweeps/tiny" / node.run.name, node.run, 150)

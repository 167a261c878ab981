"""Workers of a Dask cluster, on any machines that see the sweeps' folder under the same path.

A Dask worker trains nothing itself: each of its threads has a process that does. So the Dask worker outlives whatever
a run does to its process, trains as many runs at once as it has threads, and ends those that nobody waits for.
"""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from joblib import cpu_count

from zoo.errors import ZooError
from zoo.grid import Point
from zoo.local import ONE_THREAD
from zoo.worker import Outcome, begin

try:
    from distributed import CancelledError, Client, KilledWorker, LocalCluster, Reschedule, Status, Worker, get_worker
except ImportError as missing:
    raise ZooError("hydra/launcher=dask needs Dask: pip install 'model-zoos[dask]'") from missing

# Enough for an adaptive cluster to see that it should grow, few enough for the scheduler to stay small.
MOST_WAITING = 1000
LOOK_EVERY = 0.5  # seconds between two looks at whether a run is still wanted
IDLE = 60.0  # seconds without work after which a training process ends

Function = Callable[[Sequence[Point]], list[Outcome]]


class ProcessDied(Exception):
    """A training process ended without an answer."""


class DaskWorkers:
    """Sends tasks by Client.submit. (joblib's Dask backend hangs when a worker dies.)"""

    def __init__(self, address: str | None, cluster: Mapping[str, Any] | None, n_jobs: int | None, runs: int):
        """Connects to the scheduler at `address`; or starts `cluster` (a `_target_` and its arguments), and has it
        keep up to `n_jobs` workers; or else starts as many training processes, and no more than `runs`, here."""
        if address and (cluster or n_jobs):
            raise ZooError("hydra.launcher.address names a cluster that runs: leave out hydra.launcher.cluster, n_jobs")
        for name in ("distributed", "distributed.client"):  # at the end they mention every connection that is closed
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self.cluster = None
        if cluster:
            self.cluster = start(cluster, n_jobs)
        elif not address:
            threads = min(runs, n_jobs or cpu_count())
            self.cluster = LocalCluster(
                1, threads_per_worker=threads, processes=False, memory_limit=0, dashboard_address="127.0.0.1:0"
            )
        try:
            self.client = Client(address or self.cluster, timeout=10)
        except (OSError, ValueError) as error:
            raise ZooError(f"hydra.launcher.address={address}: no Dask scheduler answers there ({error})") from error
        self.address = self.client.scheduler.address
        self.folder = Path.cwd()
        self.sent = 0
        threads = self.threads()
        if not threads:
            print(f"Waiting for the first Dask worker at {self.address}", file=sys.stderr)
        self.processes = max(1, threads, n_jobs or 0, len(self.cluster.plan) if self.cluster else 0)

    def threads(self) -> int:
        try:
            return sum(self.client.nthreads().values())
        except OSError as error:
            raise self.lost() from error

    def lost(self) -> ZooError:
        return ZooError(f"lost the Dask scheduler at {self.address}; the same command again goes on from there")

    def room(self) -> int:
        return (MOST_WAITING if self.sent < MOST_WAITING else max(MOST_WAITING, 2 * self.threads())) - self.sent

    def submit(self, function: Function, points: Sequence[Point]) -> Future:
        self.sent += 1
        # pure=False: the same runs sent again are another task
        sent = self.client.submit(train, self.folder, function, list(points), pure=False)
        return asyncio.run_coroutine_threadsafe(result(sent), self.client.loop.asyncio_loop)

    def released(self, future: Future) -> None:
        self.sent -= 1
        error = future.exception()
        if isinstance(error, CancelledError):
            raise self.lost()
        if error and not isinstance(error, ProcessDied | KilledWorker):
            raise ZooError(
                f"the Dask workers of {self.address} can't train: {type(error).__name__}: {error}. The scheduler and "
                "all workers need this project and the packages of the launcher's environment"
            ) from error

    def stop(self) -> None:
        self.client.close()  # whereupon the scheduler cancels what it has of this client
        if self.cluster is not None:
            self.cluster.close()


def start(cluster: Mapping[str, Any], n_jobs: int | None) -> Any:
    try:
        started = instantiate(cluster, _convert_="all")
    except InstantiationException as error:
        raise ZooError(f"hydra.launcher.cluster={cluster}: {error.__cause__ or error}") from error
    if n_jobs:
        started.adapt(minimum=0, maximum=n_jobs)
    return started


async def result(sent: Any) -> list[Outcome]:
    return await sent


# on a Dask worker


def train(folder: Path, function: Function, points: Sequence[Point]) -> list[Outcome]:
    """Call the function in a training process, in the launcher's working directory, from where paths count.

    Raises ProcessDied if that process dies, Reschedule when the task is cancelled or the Dask worker is closed.
    """
    sweep = folder / points[0].sweep
    if not sweep.is_dir():
        reason = f"{sweep} is not to be seen on {socket.gethostname()}: all machines must share it under this path"
        return [Outcome(points[0].run, reason, storage=True)]
    worker = get_worker()
    key = worker.get_current_task()
    training = idle_or_new()
    try:
        training.connection.send((folder, function, points))
        while not training.connection.poll(LOOK_EVERY):
            if not is_wanted(worker, key):
                training.end()
                raise Reschedule
        outcomes = training.connection.recv()
    except (EOFError, ConnectionError) as error:
        raise ProcessDied(f"{training.end()} on {socket.gethostname()}") from error
    idle.append(training)
    return outcomes


def is_wanted(worker: Worker, key: str) -> bool:
    task = worker.state.tasks.get(key)  # a cancelled one is kept there until its thread returns
    return task is not None and task.state == "executing" and worker.status not in (Status.closing, Status.closed)


class TrainingProcess:
    """A training process of this Dask worker, with one compute thread."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        # or PyTorch Lightning would take the tasks of a Slurm job for processes of one training
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zoo.dask", str(theirs.fileno())],
            env={**inherited, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def end(self) -> str:
        """Kill it if it is alive. Returns how it ended."""
        self.process.kill()
        self.connection.close()
        code = self.process.wait()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


idle: list[TrainingProcess] = []  # kept, because importing PyTorch takes seconds


def idle_or_new() -> TrainingProcess:
    with suppress(IndexError):
        while (training := idle.pop()).process.poll() is not None:
            pass
        return training
    return TrainingProcess()


def main() -> None:
    """The life of a training process."""
    begin(os.getppid())
    # batch systems send it to every process of a job: the Dask worker first reports that it leaves
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    with suppress(EOFError):
        while connection.poll(IDLE):
            folder, function, points = connection.recv()
            os.chdir(folder)
            connection.send(function(points))


if __name__ == "__main__":
    main()

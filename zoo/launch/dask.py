"""Workers of a Dask cluster, on any machines that see the sweeps' folder under the same path.

A Dask worker trains nothing itself: each of its threads has a process that does. So the Dask worker outlives whatever
a run does to its process, trains as many runs at once as it has threads, and ends those that nobody waits for.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from joblib import cpu_count

from zoo.errors import ZooError
from zoo.launch.local import ProcessDied
from zoo.launch.worker import Outcome
from zoo.node.node import Node

try:
    from distributed import CancelledError, Client, KilledWorker, LocalCluster

    from zoo.launch.training_process import Function, train
except ImportError as missing:
    raise ZooError("hydra/launcher=dask needs Dask: pip install 'model-zoos[dask]'") from missing

# Enough for an adaptive cluster to see that it should grow, few enough for the scheduler to stay small.
MOST_WAITING = 1000


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
        scheduler: Any = self.client.scheduler
        self.address = scheduler.address
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

    def capacity(self) -> int:
        return (MOST_WAITING if self.sent < MOST_WAITING else max(MOST_WAITING, 2 * self.threads())) - self.sent

    def submit(self, function: Function, nodes: Sequence[Node]) -> Future:
        self.sent += 1
        # pure=False: the same runs sent again are another task
        sent = self.client.submit(train, self.folder, function, list(nodes), pure=False)
        loop: Any = self.client.loop
        return asyncio.run_coroutine_threadsafe(result(sent), loop.asyncio_loop)

    def ended(self, future: Future) -> None:
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

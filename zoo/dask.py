"""Workers of a Dask cluster, on any machines that see the sweeps' folder under the same path."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from zoo.errors import ZooError
from zoo.grid import Point
from zoo.worker import Outcome

# Enough for an adaptive cluster to see that it should grow, few enough for the scheduler to stay small.
MOST_WAITING = 1000


class DaskWorkers:
    """Sends tasks by Client.submit. (joblib's Dask backend hangs when a worker dies.)"""

    def __init__(self, address: str | None, cluster: Mapping[str, Any] | None, n_jobs: int):
        """Connects to the scheduler at `address`, or starts `cluster` (a `_target_` and its arguments), or else
        starts `n_jobs` processes on this machine."""
        # read when Dask is first imported, here and in the processes it starts
        os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise ZooError("hydra/launcher=dask needs Dask: pip install 'model-zoos[dask]'") from error
        if address and cluster:
            raise ZooError("give hydra.launcher.address or hydra.launcher.cluster, not both")
        self.cluster = None
        if cluster:
            self.cluster = instantiate(cluster, _convert_="all")
        elif address is None:
            self.cluster = LocalCluster(n_jobs, threads_per_worker=1, dashboard_address=None)
        try:
            self.client = Client(address or self.cluster, timeout=30)
        except OSError as error:
            raise ZooError(f"hydra.launcher.address={address}: no Dask scheduler answers there ({error})") from error
        self.folder = Path.cwd()
        self.sent: dict[Future, Any] = {}

    @property
    def processes(self) -> int:
        return max(1, sum(self.client.nthreads().values()))

    def room(self) -> int:
        threads = sum(self.client.nthreads().values()) if len(self.sent) >= MOST_WAITING else 0
        return max(MOST_WAITING, 2 * threads) - len(self.sent)

    def submit(self, function: Callable[[Sequence[Point]], list[Outcome]], points: Sequence[Point]) -> Future:
        # pure=False: the same run sent again is another task
        sent = self.client.submit(run_in, self.folder, function, list(points), pure=False)
        future: Future = Future()
        self.sent[future] = sent
        sent.add_done_callback(lambda done: pass_on(done, future))
        return future

    def released(self, future: Future) -> None:
        del self.sent[future]

    def stop(self) -> None:
        self.client.cancel(list(self.sent.values()), force=True)
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()


def pass_on(done: Any, future: Future) -> None:
    """From Dask's future to a standard one."""
    if done.status == "finished":
        future.set_result(done.result())
    else:
        future.set_exception(done.exception() if done.status == "error" else RuntimeError(f"Dask: {done.status}"))


def run_in(
    folder: Path, function: Callable[[Sequence[Point]], list[Outcome]], points: Sequence[Point]
) -> list[Outcome]:
    """Call the function in the launcher's working directory, from where paths count."""
    os.chdir(folder)
    return function(points)

"""`hydra/launcher=zoo` and `hydra/launcher=dask`: the launchers behind `python train.py -m`."""

import atexit
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # Hydra imports every plugin at every start: what takes long is imported where it is used
    from zoo.launch.launch import Workers
    from zoo.launch.local import LocalWorkers
    from zoo.node.node import Node


@dataclass
class ZooLauncherConf:
    _target_: str = "hydra_plugins.zoo_launcher.launcher.ZooLauncher"
    # worker processes; null: as many as there are cores this process may use
    n_jobs: int | None = None
    # models trained in lockstep by one process; null: as many as the processor has lanes for, if there are enough
    pack_size: int | None = None


@dataclass
class DaskLauncherConf:
    _target_: str = "hydra_plugins.zoo_launcher.launcher.DaskLauncher"
    _recursive_: bool = False  # the cluster starts when there is something to train
    # of a Dask scheduler that is running, such as tcp://10.0.0.1:8786
    address: str | None = None
    # or a cluster to start: its _target_, such as dask_jobqueue.SLURMCluster, and its arguments
    cluster: Any = None
    # the most workers of that cluster, started as the work asks for them, and again when they end;
    # without a cluster or an address: processes on this machine, null: as many as cores that may be used
    n_jobs: int | None = None
    # as above
    pack_size: int | None = None


store = ConfigStore.instance()
store.store(group="hydra/launcher", name="zoo", node=ZooLauncherConf, provider="zoo_launcher")
store.store(group="hydra/launcher", name="dask", node=DaskLauncherConf, provider="zoo_launcher")


class NodeLauncher(Launcher):
    """Trains nodes on workers, see zoo.launch.launch. The task function stays unused: workers call zoo.run.run."""

    pack_size: int | None = None
    workers: "Workers | None" = None
    is_search = False

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.hydra_context = hydra_context
        self.searched: dict[Path, Node] = {}

    def workers_for(self, runs: int) -> "Workers":
        """The workers for so many runs, which stay until `stop`."""
        raise NotImplementedError

    @contextmanager
    def starting_up(self, runs: int) -> Iterator[None]:
        """Entered before a sweep's grid is composed: what takes time can be begun here, and is ended at the exit.

        `runs`: how many there are at most.
        """
        try:
            yield
        finally:
            self.stop()

    def on_devices(self, nodes: Iterable["Node"]) -> Iterable["Node"]:
        """The nodes. Raises ZooError for one that its workers have no device for, as far as that is known here."""
        return nodes

    def stop(self) -> None:
        if self.workers:
            self.workers.stop()
        self.workers = None

    def launch_sweep(self, nodes: Sequence["Node"]) -> None:
        from zoo.launch.launch import launch, whats_next

        print(whats_next(nodes, launch(nodes, self.workers_for, self.pack_size)), file=sys.stderr)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Hydra's own way to call a launcher: any sweeper's, so that a search can drive it too.

        A search calls it for batch after batch: the workers stay until the process ends.
        """
        if not self.is_search:
            self.is_search = True
            # the last handler runs first: multiprocessing's own, which waits for workers to end, is to run after ours
            import multiprocessing.util  # noqa: F401

            atexit.register(self.end_search)
        try:
            return self.launch_batch(job_overrides)
        except BaseException:
            self.searched = {}
            self.stop()
            raise

    def launch_batch(self, job_overrides: Sequence[Sequence[str]]) -> Sequence[JobReturn]:
        from zoo.launch.launch import launch
        from zoo.launch.single import objective
        from zoo.node.clear_errors import require_no_chdir
        from zoo.node.resolvers import node_of
        from zoo.sweep.sweep import training

        require_no_chdir(self.config.hydra)
        nodes, returns = [], []
        for overrides in job_overrides:
            config = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
            nodes.append(node_of(config, list(overrides)))
        with training(self.on_devices(nodes), list(self.config.hydra.overrides.task)):
            launch(nodes, self.workers_for, self.pack_size)
        for node in nodes:
            done = JobReturn(
                overrides=node.overrides, cfg=OmegaConf.create(dict(node.config)), status=JobStatus.COMPLETED
            )
            done.return_value = objective(node)
            returns.append(done)
        self.searched |= {node.run: node for node in nodes}
        return returns

    def end_search(self) -> None:
        from zoo.launch.launch import tally_of, whats_next

        self.stop()
        if nodes := list(self.searched.values()):
            print(whats_next(nodes, tally_of(nodes)), file=sys.stderr)


class ZooLauncher(NodeLauncher):
    """Worker processes on this machine."""

    workers: "LocalWorkers | None"

    def __init__(self, n_jobs: int | None, pack_size: int | None):
        for name, value in (("n_jobs", n_jobs), ("pack_size", pack_size)):
            if value is not None and value < 1:
                raise ValueError(f"hydra.launcher.{name}={value}: must be 1 or more, or null")
        self.n_jobs = n_jobs
        self.pack_size = pack_size

    def on_devices(self, nodes: Iterable["Node"]) -> Iterable["Node"]:
        from zoo.run.trainer_options import require_accelerator

        for node in nodes:
            require_accelerator(node.config)
            yield node

    def workers_for(self, runs: int) -> "LocalWorkers":
        from joblib import cpu_count

        from zoo.launch.local import LocalWorkers, can_fork

        wanted = min(runs, self.n_jobs or cpu_count())
        accelerator = OmegaConf.select(self.config, "trainer.accelerator")
        self.workers = self.workers or LocalWorkers(wanted, can_fork(accelerator))
        self.workers.grow(wanted)
        if not self.is_search:
            self.workers.limit(wanted)
        return self.workers

    @contextmanager
    def starting_up(self, runs: int) -> Iterator[None]:
        with super().starting_up(runs):
            self.workers_for(runs)
            yield


class DaskLauncher(NodeLauncher):
    """Dask's workers, on any machines that share the sweeps' folder under the same path."""

    def __init__(self, address: str | None, cluster: DictConfig | None, n_jobs: int | None, pack_size: int | None):
        self.address = address
        self.cluster = cluster
        self.n_jobs = n_jobs
        self.pack_size = pack_size

    def workers_for(self, runs: int) -> "Workers":
        from zoo.launch.dask import DaskWorkers

        self.workers = self.workers or DaskWorkers(self.address, self.cluster, self.n_jobs, runs)
        return self.workers

"""`hydra/sweeper=zoo`: the sweeper behind `python train.py -m`."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from zoo.node.grid import Grid
    from zoo.node.node import Node

MANY = 10_000  # models, of which it is said beforehand how long they will take, and how much room


@dataclass
class ZooSweeperConf:
    _target_: str = "hydra_plugins.zoo_sweeper.sweeper.ZooSweeper"
    # a preset's grid: swept keys and their values, as they would be typed
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="zoo", node=ZooSweeperConf, provider="zoo_sweeper")


class ZooSweeper(Sweeper):
    """Checks the whole grid and prepares its sweep before anything trains, then gives the launcher every node.

    Unlike Hydra's basic sweeper it doesn't compose every node in full first, which takes 50 ms each.
    """

    def __init__(self, params: dict[str, str] | None):
        self.params = params or {}
        self.config: Any  # what Hydra's own sweepers have from `setup` on
        self.hydra_context: Any

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra.core.plugins import Plugins

        self.config = config
        self.hydra_context = hydra_context
        self.launcher: Any = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:
        # imported here: Hydra imports every plugin at every start
        from hydra_plugins.zoo_launcher.launcher import NodeLauncher
        from zoo.node.clear_errors import require_no_chdir
        from zoo.node.grid import Grid

        require_no_chdir(self.config.hydra)
        overrides = [f"{key}={value}" for key, value in self.params.items()] + arguments
        grid = Grid(self.hydra_context.config_loader, self.config.hydra.job.config_name, overrides)
        require_some(grid)
        is_ours = isinstance(self.launcher, NodeLauncher)
        composed = self.launcher.on_devices(composing(grid)) if is_ours else composing(grid)
        if self.is_dry_run(grid):
            from zoo.launch.plan import dry_run

            print(dry_run(list(composed), arguments, *self.resources()))
            return []
        with self.launcher.starting_up(len(grid)) if is_ours else nullcontext():
            # while the workers import PyTorch, which these do, too
            from zoo.launch.packing import notice
            from zoo.launch.plan import plan
            from zoo.sweep.progress import Progress, Tally
            from zoo.sweep.sweep import training

            with training(composed, arguments) as nodes:
                if len(nodes) >= MANY:
                    print(plan(nodes, *self.resources()), file=sys.stderr)
                if is_ours:
                    self.launcher.launch_sweep(nodes)
                    return []
                if text := notice(nodes):
                    print(text, file=sys.stderr)
                runs = {node.run: node.max_epochs for node in nodes}
                with Progress(Tally(runs)) as progress:
                    progress.running = set(runs)
                    returns: Any = self.launcher.launch([node.overrides for node in nodes], initial_job_idx=0)
        for job in returns:
            job.return_value  # noqa: B018  raises what the job raised
        return returns

    def is_dry_run(self, grid: "Grid") -> bool:
        typed = [override.value() for override in grid.overrides if override.key_or_group == "dry_run"]
        return bool(typed[-1] if typed else self.config.dry_run)

    def resources(self) -> tuple[int, int | None]:
        """How many processes will train, and how many models each at once, if that was given."""
        from joblib import cpu_count

        return getattr(self.launcher, "n_jobs", None) or cpu_count(), getattr(self.launcher, "pack_size", None)


def composing(grid: "Grid") -> "Iterable[Node]":
    """The grid's nodes. Of many, the number is told at once, and a bar shows how many are composed."""
    from tqdm import tqdm

    if len(grid) < MANY:
        return grid
    print(f"{len(grid):,} models: composing their configs", file=sys.stderr)
    return tqdm(grid, "composing", total=len(grid), unit="model", leave=False)


def require_some(grid: "Grid") -> None:
    from zoo.errors import ZooError

    for override in grid.overrides:
        if override.is_sweep_override() and not grid.counts[override.get_key_element()]:
            raise ZooError(f"{override.input_line} matches nothing, so there is nothing to train")

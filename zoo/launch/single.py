"""A run of its own, in this process: without -m, or by Hydra's own launchers."""

import sys
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from zoo.disk import files, locks, paths
from zoo.errors import ZooError
from zoo.format.record import read_records
from zoo.launch.interrupt import interruptible
from zoo.launch.packing import notice
from zoo.launch.worker import write_hydra_record
from zoo.node.clear_errors import require_no_chdir
from zoo.node.node import Node
from zoo.run.trainer_options import require_accelerator
from zoo.sweep.progress import Progress, Tally
from zoo.sweep.sweep import training

OUR_SWEEPER = "hydra_plugins.zoo_sweeper.sweeper.ZooSweeper"


def train_single(node: Node) -> float | None:
    """Train the node that Hydra composed; a single run (not one of a multirun) is a sweep of one.

    Returns its objective.
    """
    hydra = HydraConfig.get()
    require_no_chdir(hydra)
    require_accelerator(node.config)
    if node.config["dry_run"]:
        from zoo.launch.plan import dry_run

        print(dry_run([node], node.overrides, workers=1))
        return None
    if hydra.mode == RunMode.RUN:
        require_no_grid(hydra)
        train_alone(node)
    else:
        train_job(node, prepared=hydra.sweeper["_target_"] == OUR_SWEEPER)
    return objective(node)


def require_no_grid(hydra: Any) -> None:
    """A preset without -m would train a node that its zoo may not have."""
    if hydra.sweeper.get("params") and "zoo" in hydra.runtime.choices:
        key, values = list(hydra.sweeper.params.items())[-1]
        raise ZooError(
            f"+zoo={hydra.runtime.choices['zoo']} is a grid ({key}={values} ...): add -m, and if you want few of its "
            f"models, narrow it by overrides such as {key}=1,2"
        )


def train_alone(node: Node) -> None:
    from joblib import cpu_count

    with training([node], node.overrides):
        if text := notice([node]):
            print(text, file=sys.stderr)
        tally = Tally({node.run: node.max_epochs}, node.config["stop_diverged"])
        tally.update([node.run])
        with interruptible(tally.text), Progress(tally) as progress:
            progress.running.add(node.run)
            train_here(node, threads=cpu_count())
    print(f"{node.run}: {tally.accuracy_text()}")


def train_job(node: Node, prepared: bool) -> None:
    """Train one node of a multirun. `prepared`: whether the sweeper has prepared its sweep, and holds it."""
    if not prepared:
        with training([node], node.overrides, wait=True):
            pass
    train_here(node)


def train_here(node: Node, threads: int = 1) -> None:
    from zoo.run.run import train  # PyTorch Lightning takes seconds to import, and launchers have no use for it

    with files.storage_errors(), locks.locked(paths.lock(node.run)):
        write_hydra_record(node)
        train([node], paths.images(node.sweep), threads=threads)


def objective(node: Node) -> float | None:
    """What a search (Optuna and the like) maximises: accuracy on images that are neither trained nor reported on."""
    last = read_records(node.run)[-1]
    return last["test_acc"] if last["val_acc"] is None else last["val_acc"]

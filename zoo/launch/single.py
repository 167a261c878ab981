"""A run of its own, in this process: without -m, or by Hydra's own launchers."""

import sys
from contextlib import ExitStack
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from zoo.disk import files, paths
from zoo.node.node import Node
from zoo.run.engine import notice
from zoo.run.record import read_records
from zoo.sweep.progress import Progress, Tally
from zoo.sweep.sweep import training


def train_single(config: dict[str, Any]) -> dict[str, Any]:
    """Train the node of a plain config; a single run (not one of a multirun) is a sweep of one.

    Returns the last record.
    """
    from zoo.run.run import train  # PyTorch Lightning takes seconds to import, and launchers have no use for it

    hydra = HydraConfig.get()
    node = Node(config, list(hydra.overrides.task))
    with ExitStack() as held:
        if hydra.mode == RunMode.RUN:
            held.enter_context(training([node], node.overrides))
            if text := notice([node]):
                print(text, file=sys.stderr)
            tally = Tally({node.run: node.max_epochs}, config["stop_diverged"])
            tally.update([node.run])
            held.enter_context(Progress(tally)).running.add(node.run)
        held.enter_context(files.storage_errors())
        train([node], paths.images(node.sweep))
    return read_records(node.run)[-1]

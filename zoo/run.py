"""Train nodes into their run directories, or go on where they stopped."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.environments import LightningEnvironment

from zoo import node as nodes
from zoo import packing, paths
from zoo.build import build, build_model
from zoo.checkpoint import RecordEpoch
from zoo.data.images import Images
from zoo.module import Pack, TorchPack
from zoo.pack import LanesPack
from zoo.record import claim, is_finished, load, read_records, read_state


def train(configs: Sequence[Mapping[str, Any]], runs: Sequence[Path], images: Path) -> None:
    """Train the nodes of `configs` (plain, of one pack_key) in the directories `runs` on the images in file `images`.

    Finished runs are left as they are; interrupted ones go on from a complete epoch, to the same states as if they
    had never stopped. Raises ZooError, before anything is trained, if a run directory holds another config.
    """
    quiet()
    torch.set_num_threads(1)
    for config, run in zip(configs, runs, strict=True):
        claim(run, nodes.params(nodes.values(config)))
    max_epochs, stop_diverged = configs[0]["trainer"]["max_epochs"], configs[0]["stop_diverged"]
    unfinished = {
        run: config
        for config, run in zip(configs, runs, strict=True)
        if not is_finished(read_records(run), max_epochs, stop_diverged)
    }
    prepared = Images.load(images)
    for epoch, members in from_common_epochs(list(unfinished)):
        chosen = [unfinished[run] for run in members]
        models = [build_model(config) for config in chosen]
        if packing.reason_not(chosen[0]) is None:
            fit(LanesPack(chosen, models, prepared, epoch), chosen, members)
        else:
            for config, run, model in zip(chosen, members, models, strict=True):
                fit(TorchPack(config, model, prepared, epoch), [config], [run])


def from_common_epochs(runs: Sequence[Path]) -> list[tuple[int, list[Path]]]:
    """Which runs can go on together, and from which complete epoch: of each its last, or the one before."""
    groups = []
    left = list(runs)
    while left:
        last = {run: max(len(read_records(run)) - 1, 0) for run in left}
        epoch = min(last.values())
        members = [run for run in left if last[run] == epoch or paths.optimizer(run, epoch).exists()]
        groups.append((epoch, members))
        left = [run for run in left if run not in members]
    return groups


def fit(pack: Pack, configs: Sequence[Mapping[str, Any]], runs: Sequence[Path]) -> None:
    """Train the pack, whose models are at their initialisation, from its epoch's files to the end."""
    config, epoch = configs[0], pack.epoch
    if epoch:
        states = [read_state(run, epoch) for run in runs]
        pack.load(states, [load(paths.optimizer(run, epoch)) for run in runs])
    params = [nodes.released(nodes.values(config)) for config in configs]
    recorder = RecordEpoch(runs, params, config["stop_diverged"])
    left = config["trainer"]["max_epochs"] - epoch
    # in a job of a batch system, each of its processes trains models of its own: none is a rank of one training
    alone = LightningEnvironment()
    build({**config["trainer"], "max_epochs": left, "callbacks": [recorder], "plugins": [alone]}).fit(pack)


def quiet() -> None:
    """No banners and tips for each of thousands of models."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")

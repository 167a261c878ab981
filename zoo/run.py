"""Train one node into its run directory, or go on where it stopped."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zoo import node as nodes
from zoo import paths
from zoo.build import build, build_model
from zoo.checkpoint import RecordEpoch
from zoo.data.images import Images
from zoo.module import Classifier
from zoo.record import claim, is_finished, load, read_records, read_state


def train(config: Mapping[str, Any], run: Path, images: Path) -> dict[str, Any]:
    """Train the node of `config` (plain, resolved) in the directory `run` on the images in file `images`.

    Returns the last record. A finished run is left as it is; an interrupted one goes on from its last complete
    epoch, to the same states as if it had never stopped. Raises ZooError if `run` holds another config.
    """
    quiet()
    torch.set_num_threads(1)
    node = nodes.values(config)
    params = nodes.params(node)
    claim(run, params)
    max_epochs, stop_diverged = config["trainer"]["max_epochs"], config["stop_diverged"]
    records = read_records(run)
    if is_finished(records, max_epochs, stop_diverged):
        return records[-1]

    epoch = max(len(records) - 1, 0)
    model = build_model(config)
    if records:
        model.load_state_dict(read_state(run, epoch))
    schedule = build(config["schedule"]) if "_target_" in config["schedule"] else None
    module = Classifier(
        model=model,
        images=Images.load(images),
        optimizer=build(config["optim"]),
        schedule=schedule,
        batch_size=config["batch_size"],
        seed=config["seed"],
        max_epochs=max_epochs,
        augmentation=build(config["augmentation"]),
        first_epoch=epoch,
    )
    if records:
        module.load_training_state(load(paths.optimizer(run, epoch)))
    recorder = RecordEpoch(run, nodes.released(node), stop_diverged)
    trainer = build({**config["trainer"], "max_epochs": max_epochs - epoch, "callbacks": [recorder]})
    trainer.fit(module)
    return recorder.records[-1]


def quiet() -> None:
    """No banners and tips for each of thousands of models."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")

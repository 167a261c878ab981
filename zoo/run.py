"""Train one node into its run directory, or go on where it stopped."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate

from zoo import files, paths
from zoo import node as nodes
from zoo.checkpoint import RecordEpoch, is_finished, load, read_records, read_state
from zoo.data.images import Images
from zoo.errors import ZooError
from zoo.init import initialise
from zoo.module import Classifier

# Keys that describe a choice in conf/ and are no arguments of its class.
DESCRIPTION = ("name", "image_size")


def build(choice: Mapping[str, Any]) -> Any:
    """What a choice of a config group stands for: its `_target_`, called with its other keys."""
    return instantiate({key: value for key, value in choice.items() if key not in DESCRIPTION}, _convert_="all")


def build_model(config: Mapping[str, Any]) -> torch.nn.Module:
    """The model at epoch 0. The seed is set before construction, as the released generator does."""
    torch.manual_seed(config["seed"])
    model = build(config["model"])
    init = build(config["init"])
    initialise(model, init["weight"], init["bias"])
    return model


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


def claim(run: Path, params: dict[str, Any]) -> None:
    """Write params.json, or make sure that the one there is the same."""
    path = paths.params(run)
    if not path.exists():
        files.write_json(path, params)
        return
    there = files.read_json(path)
    if nodes.canonical(there.get("config")) != nodes.canonical(params["config"]):
        differing = [key for key in params if key != "config" and there.get(key) != params[key]]
        raise ZooError(
            f"{run} holds another config: "
            + ", ".join(f"{key}={there.get(key)!r} there, {params[key]!r} here" for key in differing)
            + ". Move that directory away, or choose another zoo.name"
        )


def quiet() -> None:
    """No banners and tips for each of thousands of models."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")

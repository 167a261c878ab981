"""The keys of the 2022 Model Zoos release, which tools written for those zoos read."""

from collections.abc import Mapping
from typing import Any

TYPES = {"cnn_small": "CNN", "cnn_large": "CNN3", "resnet18": "Resnet18"}
NAMES = {"leaky_relu": "leakyrelu", "rmsprop": "rms_prop"}


def released(values: Mapping[str, Any]) -> dict[str, Any]:
    """A node's values under the flat keys of the release."""
    model, optim = values["model"], values["optim"]
    return {
        "model::type": TYPES.get(model["name"], model["name"]),
        "model::channels_in": values["data"]["channels"],
        "model::o_dim": values["data"]["classes"],
        "model::nlin": NAMES.get(model.get("activation"), model.get("activation", "relu")),
        "model::dropout": model.get("dropout", 0.0),
        "model::init_type": values["init"]["name"],
        "optim::optimizer": NAMES.get(optim["name"], optim["name"]),
        "optim::lr": optim["lr"],
        "optim::wd": optim["weight_decay"],
        "optim::momentum": optim.get("momentum", 0.9),
        "training::batchsize": values["batch_size"],
        "training::epochs_train": values["trainer"]["max_epochs"],
        "seed": values["seed"],
    }

"""The keys of the 2022 Model Zoos release, which tools written for those zoos read."""

from collections.abc import Mapping
from typing import Any

TYPES = {"cnn_small": "CNN", "cnn_large": "CNN3", "resnet18": "Resnet18"}
NAMES = {"leaky_relu": "leakyrelu", "rmsprop": "rms_prop"}


def released(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A node's values (by the names one types) under the keys of the release."""
    return {
        "model::type": TYPES.get(flat["model"], flat["model"]),
        "model::channels_in": flat["data.channels"],
        "model::o_dim": flat["data.classes"],
        "model::nlin": NAMES.get(flat.get("model.activation"), flat.get("model.activation", "relu")),
        "model::dropout": flat.get("model.dropout", 0.0),
        "model::init_type": flat["init"],
        "optim::optimizer": NAMES.get(flat["optim"], flat["optim"]),
        "optim::lr": flat["optim.lr"],
        "optim::wd": flat["optim.weight_decay"],
        "optim::momentum": flat.get("optim.momentum", 0.9),
        "training::batchsize": flat["batch_size"],
        "training::epochs_train": flat["trainer.max_epochs"],
        "seed": flat["seed"],
    }

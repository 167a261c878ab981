"""The keys of the 2022 Model Zoos release, which tools written for those zoos read."""

from collections.abc import Mapping
from typing import Any

NAMES = {
    "model": {"cnn_small": "CNN", "cnn_large": "CNN3", "resnet18": "Resnet18"},
    "model.activation": {"leaky_relu": "leakyrelu"},
    "optim": {"rmsprop": "rms_prop"},
}

# What each key has the value of, by the name one types.
KEYS = {
    "model::type": "model",
    "model::channels_in": "data.channels",
    "model::o_dim": "data.classes",
    "model::nlin": "model.activation",
    "model::dropout": "model.dropout",
    "model::init_type": "init",
    "optim::optimizer": "optim",
    "optim::lr": "optim.lr",
    "optim::wd": "optim.weight_decay",
    "optim::momentum": "optim.momentum",
    "training::batchsize": "batch_size",
    "training::epochs_train": "trainer.max_epochs",
    "seed": "seed",
}


def released(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A node's values (by the names one types) under the keys of the release. What it doesn't have is left out."""
    return {key: renamed(typed, flat[typed]) for key, typed in KEYS.items() if typed in flat}


def renamed(typed: str, value: Any) -> Any:
    return NAMES.get(typed, {}).get(value, value) if isinstance(value, str) else value

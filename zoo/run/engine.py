"""Which engine can train a node: the CPU engine, or else PyTorch, and why."""

from typing import Literal

import torch

from zoo.engines import lanes
from zoo.node.build import build
from zoo.node.callbacks import changing
from zoo.node.node import Node

ENGINES = ("auto", "torch")

# The optimizers that the engine knows, and the arguments that it can give them.
OPTIMIZERS: dict[str, tuple[Literal["adam", "sgd", "rmsprop"], set[str]]] = {
    "torch.optim.Adam": ("adam", {"lr", "weight_decay", "betas", "eps"}),
    "torch.optim.SGD": ("sgd", {"lr", "weight_decay", "momentum", "nesterov"}),
    "torch.optim.RMSprop": ("rmsprop", {"lr", "weight_decay", "momentum", "alpha", "eps"}),
}
# How PyTorch computes the same update, and what it does by default.
IMMATERIAL = {"name", "_target_", "_partial_", "fused", "foreach"}
PER_MODEL = ("lr", "weight_decay", "momentum")


def unsupported(node: Node) -> str | None:
    """Why the CPU engine can't train this node, so that PyTorch does; None if it can."""
    config, optim = node.config, node.config["optim"]
    if config["engine"] == "torch":
        return "engine=torch"
    if not lanes.available():
        return lanes.reason()
    trainer = config["trainer"]
    if (accelerator := trainer.get("accelerator")) != "cpu":
        return f"trainer.accelerator={accelerator}"
    for key in ("precision", "gradient_clip_val", "detect_anomaly"):
        if trainer.get(key):
            return f"trainer.{key}={trainer[key]}"
    if callbacks := changing(trainer):  # a callback can't reach what the engine trains
        return f"trainer.callbacks={callbacks[0]}"
    for group in ("schedule", "augmentation"):
        if set(config[group]) - {"name"}:
            return f"{group}={config[group]['name']}"
    if optim["_target_"] not in OPTIMIZERS:
        return f"optim={optim['name']}"
    if unknown := set(optim) - OPTIMIZERS[optim["_target_"]][1] - IMMATERIAL:
        return f"optim.{min(unknown)}"
    if config["data"]["size"] is None:
        return "data.size=null"
    with torch.device("meta"):
        model = build(config["model"])
    shape = (config["data"]["channels"], config["data"]["size"], config["data"]["size"])
    try:
        return lanes.supported(lanes.chain(model), shape)
    except lanes.Unsupported as error:
        return str(error)

"""Which nodes the CPU engine can train, and which of them together."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from zoo import lanes
from zoo import node as nodes
from zoo.build import build
from zoo.grid import Point
from zoo.models.cnn import CNN

ENGINES = ("auto", "torch")
PACK_SIZE = 16  # models: the widest registers' lanes; more would not be faster

# The optimizers that the engine knows, and the arguments that it can give them.
OPTIMIZERS = {
    "torch.optim.Adam": ("adam", {"lr", "weight_decay", "betas", "eps"}),
    "torch.optim.SGD": ("sgd", {"lr", "weight_decay", "momentum", "nesterov"}),
    "torch.optim.RMSprop": ("rmsprop", {"lr", "weight_decay", "momentum", "alpha", "eps"}),
}
# How PyTorch computes the same update, and what it does by default.
IMMATERIAL = {"name", "_target_", "_partial_", "fused", "foreach"}
PER_MODEL = ("lr", "weight_decay", "momentum")


def reason_not(config: Mapping[str, Any]) -> str | None:
    """Why the engine can't train this node, so that PyTorch does; None if it can."""
    optim = config["optim"]
    if config["engine"] == "torch":
        return "engine=torch"
    if not lanes.available():
        return lanes.reason()
    if config["trainer"]["accelerator"] != "cpu":
        return f"trainer.accelerator={config['trainer']['accelerator']}"
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
    return lanes.supported(layers_of(model), shape)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The layers that the model applies one after the other; the model itself if it isn't known to do just that."""
    if type(model).forward is nn.Sequential.forward:
        return list(model)
    if type(model).forward is CNN.forward:
        return list(model.module_list)
    return [model]


def pack_key(config: Mapping[str, Any]) -> str:
    """Nodes with the same key can share a pack: all but seed, init and what the engine takes per model is the same."""
    node = nodes.values(config)
    node = {key: value for key, value in node.items() if key not in ("seed", "init")}
    node["optim"] = {key: value for key, value in node["optim"].items() if key not in PER_MODEL}
    node["model"] = node["model"] | {"dropout": node["model"].get("dropout", 0) > 0}
    places = [config[key] for key in ("sweeps", "zoo", "trainer", "engine", "stop_diverged")]
    return json.dumps([nodes.canonical(node), places])


def notice(points: Sequence[Point]) -> str | None:
    """What to tell a user whose models could train much faster; None if there is nothing to tell."""
    if lanes.available() or all(point.config["engine"] == "torch" for point in points):
        return None
    return f"Without the CPU engine ({lanes.reason()}) models are trained one by one through PyTorch, far slower."


def pack(points: Sequence[Point], workers: int, pack_size: int | None = None) -> list[list[Point]]:
    """The points in packs that keep `workers` processes busy to the end; one by one what the engine can't train.

    `pack_size`: models in a pack; by default up to PACK_SIZE, and less where workers would have nothing to do.
    """
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(pack_key(point.config), []).append(point)
    packs: list[list[Point]] = []
    singles: list[list[Point]] = []
    for group in groups.values():
        if reason_not(group[0].config) is None:
            packs += chunks(group, pack_size or PACK_SIZE)
        else:
            singles += chunks(group, 1)
    if pack_size is None:
        packs = balanced(packs, workers, lanes.width() if packs else PACK_SIZE)
    return packs + singles


def chunks(points: Sequence[Point], size: int) -> list[list[Point]]:
    return [list(points[start : start + size]) for start in range(0, len(points), size)]


def balanced(packs: list[list[Point]], workers: int, width: int) -> list[list[Point]]:
    """The packs, the largest first; those of the last, incomplete round on all workers are cut to `width` models.

    `width` is how many lanes this processor has, less than which take as long.
    """
    packs = sorted(packs, key=len, reverse=True)
    last_round = len(packs) % workers
    whole, rest = packs[: len(packs) - last_round], packs[len(packs) - last_round :]
    return whole + [part for pack in rest for part in chunks(pack, width)]

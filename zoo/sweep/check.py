"""Every value of a grid, before anything trains."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zoo.errors import ZooError
from zoo.models.initialise import initialise
from zoo.node.build import build
from zoo.node.node import Node
from zoo.sweep.values import check_choice, check_config


def check(nodes: Sequence[Node]) -> dict[Path, dict[str, Node]]:
    """The nodes of each sweep by their names, if all of them can be trained."""
    check_values([node.config for node in nodes])
    sweeps: dict[Path, dict[str, Node]] = {}
    for node in nodes:
        twin = sweeps.setdefault(node.sweep, {}).setdefault(node.name, node)
        if twin is not node:
            raise ZooError(
                f"two nodes of the grid train the same model: {' '.join(twin.overrides)} and "
                f"{' '.join(node.overrides)}. Where a preset draws random seeds, sweep `draw`, not `seed`"
            )
    return sweeps


def check_values(configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise ZooError for the first config that can't be trained. Builds each distinct choice once, without memory."""
    checked = set()

    def is_new(*choices: Any) -> bool:
        key = json.dumps(choices)
        known = key in checked
        checked.add(key)
        return not known

    for config in configs:
        check_config(config)
        data, model, init, optim = (config[group] for group in ("data", "model", "init", "optim"))
        for group in ("model", "init", "optim", "schedule", "augmentation"):
            if is_new(group, config[group]):
                check_choice(group, config[group])
        with torch.device("meta"):
            if is_new(data["channels"], data["size"], model, init):
                check_model(config)
            if is_new(optim):
                attempt("optim", optim, lambda optim=optim: build(optim)([torch.nn.Parameter(torch.zeros(1))]))


def check_model(config: Mapping[str, Any]) -> None:
    data, model, init = config["data"], config["model"], config["init"]
    network = attempt("model", model, lambda: build(model))
    distribution = attempt("init", init, lambda: build(init))
    attempt("init", init, lambda: initialise(network, distribution["weight"], distribution["bias"]))
    if data["size"] is None:
        return
    try:
        logits = network.eval()(torch.zeros(1, data["channels"], data["size"], data["size"]))
    except RuntimeError as error:
        raise ZooError(
            f"model={model['name']} can't take images of {data['size']}x{data['size']} pixels with "
            f"{data['channels']} channels (data={data['name']}): {error}. Leave data.size to the model's image_size"
        ) from error
    if tuple(logits.shape) != (1, data["classes"]):
        raise ZooError(f"model={model['name']} gives outputs {tuple(logits.shape)}, not (1, {data['classes']})")


def attempt(group: str, choice: Mapping[str, Any], construct: Any) -> Any:
    """`construct()`; whatever it raises, say of which choice."""
    try:
        return construct()
    except Exception as error:
        cause = error.__cause__ or error  # Hydra wraps what the class itself raised
        given = ", ".join(f"{group}.{key}={value}" for key, value in choice.items() if not key.startswith("_"))
        raise ZooError(f"{given}: {cause}") from error

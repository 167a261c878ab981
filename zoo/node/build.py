"""From a choice in the config to the object it stands for."""

from collections.abc import Mapping
from typing import Any

import torch
from hydra.utils import instantiate
from torch.optim.lr_scheduler import LRScheduler

from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.model_source import DESCRIPTION
from zoo.models.initialise import initialise
from zoo.node.from_zoo import is_from_zoo, parent_of, parent_state


def build(choice: Mapping[str, Any]) -> Any:
    """What a choice of a config group stands for: its `_target_`, called with its other keys."""
    return instantiate({key: value for key, value in choice.items() if key not in DESCRIPTION}, _convert_="all")


def build_schedule(choice: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> LRScheduler | None:
    """The learning rate's schedule; None if it is constant."""
    if "_target_" not in choice:
        return None
    return build({key: value for key, value in choice.items() if key != "interval"})(optimizer)


def build_model(config: Mapping[str, Any]) -> torch.nn.Module:
    """The model at epoch 0. The seed is set before construction, as the released generator does.

    Raises ZooError if it starts from a state of a zoo, and that can't be read, or has other tensors.
    """
    torch.manual_seed(config["seed"])
    model = build(config["model"])
    if is_from_zoo(config):
        model.load_state_dict(Architecture.of(model).unflatten(parent_state(config), 0))
        return model
    init = build(config["init"])
    initialise(model, init["weight"], init["bias"])
    return model


def require_tensors_of_parent(config: Mapping[str, Any], model: torch.nn.Module) -> None:
    """Raise ZooError if a model, which may be on the meta device, can't start from the state that its config names."""
    zoo, _ = parent_of(config["init"])
    own = Architecture.of(model)
    if own.tensors != zoo.architecture.tensors:
        raise ZooError(
            f"model={config['model']['name']} for data={config['data']['name']} has other tensors than the models in "
            f"init.zoo={zoo.path}: {zoo.architecture.difference(own)}"
        )

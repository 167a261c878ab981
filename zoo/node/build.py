"""From a choice in the config to the object it stands for."""

from collections.abc import Mapping
from typing import Any

import torch
from hydra.utils import instantiate
from torch.optim.lr_scheduler import LRScheduler

from zoo.format.model_source import DESCRIPTION
from zoo.models.initialise import initialise


def build(choice: Mapping[str, Any]) -> Any:
    """What a choice of a config group stands for: its `_target_`, called with its other keys."""
    return instantiate({key: value for key, value in choice.items() if key not in DESCRIPTION}, _convert_="all")


def build_schedule(choice: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> LRScheduler | None:
    """The learning rate's schedule; None if it is constant."""
    if "_target_" not in choice:
        return None
    return build({key: value for key, value in choice.items() if key != "interval"})(optimizer)


def build_model(config: Mapping[str, Any]) -> torch.nn.Module:
    """The model at epoch 0. The seed is set before construction, as the released generator does."""
    torch.manual_seed(config["seed"])
    model = build(config["model"])
    init = build(config["init"])
    initialise(model, init["weight"], init["bias"])
    return model

"""Which classes and functions a params.json may name: those of PyTorch and of this package that train models.

For models see `zoo.models.known`; here, too, a name is compared, and never followed to what a module imports.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from zoo.dataset.network import executed, network_like
from zoo.disk import paths
from zoo.errors import ZooError, one_line
from zoo.format.architecture import Architecture
from zoo.format.model_source import arguments
from zoo.models.known import is_class, known_model
from zoo.node.from_zoo import EPOCHS, OPTIMIZER, STATE, STEPS

OF_PARENT = [("init", key) for key in (STATE, OPTIMIZER, EPOCHS, STEPS)]  # what `init=from_zoo` says of the zoo
HYDRAS = ("_target_", "_partial_")  # the keys with an underscore that a choice can have


def known_optimizer(target: str) -> bool:
    return is_class(member(target, torch.optim), torch.optim.Optimizer)


def known_schedule(target: str) -> bool:
    return is_class(member(target, lr_scheduler), lr_scheduler.LRScheduler)


def known_initialisation(target: str) -> bool:
    found = member(target, nn.init)
    return inspect.isfunction(found) and found.__module__ == nn.init.__name__


def member(target: str, module: ModuleType) -> Any:
    """What the name is in the module itself; None if it is not there."""
    place, _, name = target.rpartition(".")
    return getattr(module, name, None) if place == module.__name__ else None


def build_known(path: Path, params: Mapping[str, Any], architecture: Architecture, trusted: Path | None) -> nn.Module:
    """The model of a params.json (which is at `path`), with fresh weights.

    `trusted`: the zoo whose model.py may be executed for a class that is not known. Raises ZooError if the class is not
    known, or makes another architecture.
    """
    choice = params["config"].get("model")
    if choice is None:
        raise ZooError(f"{path} names no class, as its model was trained elsewhere: it can't be built")
    target, given = str(choice.get("_target_")), arguments(choice)
    known = known_model(target)
    if known and any(key.startswith(("weights", "pretrained")) and value for key, value in given.items()):
        raise ZooError(f"{path} wants the model {target} with weights from elsewhere, which are not fetched")

    try:
        if known is None:
            if trusted is None:
                raise ZooError(
                    f"{path} names the model {target}, which is none of this package's, torchvision's or PyTorch's: "
                    "give --trust to execute the zoo's model.py, if you know whose it is"
                )
            source = paths.model_source(trusted)
            build = executed(source, source.read_bytes())["build"]
            return network_like(architecture, lambda: build(params))
        return network_like(architecture, lambda: known(**given))
    except ZooError:
        raise
    except Exception as error:  # the values are anyone's
        raise ZooError(f"the model {target} can't be built from {path} ({one_line(error)})") from error


def require_known(path: Path, config: Mapping[str, Any]) -> None:
    """Raise ZooError if the `config` of a params.json, which is at `path`, names anything that is not known."""
    known: dict[tuple[str, ...], Callable[[str], Any]] = {
        ("model",): known_model,
        ("optim",): known_optimizer,
        ("schedule",): known_schedule,
        ("init", "weight"): known_initialisation,
    }
    for place, value in leaves(config):
        *folder, key = place
        where = f"{path} has {'.'.join(place)}={value!r}"
        if place[:2] == ("trainer", "callbacks"):
            raise ZooError(f"{where}: trainer.callbacks is unknown, as what a callback does to a model is")
        if key == "_target_":
            if not (isinstance(value, str) and tuple(folder) in known and known[tuple(folder)](value)):
                raise ZooError(f"{where}, which is none of PyTorch's, torchvision's or this package's")
        elif (key.startswith("_") and key not in HYDRAS and place not in OF_PARENT) or (
            isinstance(value, str) and "${" in value
        ):
            raise ZooError(f"{where}, which no sweep of this project writes: it is not trained")
        elif folder[:1] == ["model"] and key.startswith(("weights", "pretrained")) and value:
            raise ZooError(f"{where}: weights from elsewhere are not fetched")


def leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value that is no container, and where it is; an item of a list is where the list is."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, (*place, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, place)
    else:
        yield place, value

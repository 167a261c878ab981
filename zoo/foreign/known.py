"""Architectures: those that this project has itself, and what can be said of others by their tensors alone."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.format.architecture import Architecture, Entry, require_kept
from zoo.format.model_source import arguments, imported

# The classes of this project, by the name of the choice in conf/model: nothing else is ever imported.
CLASSES = {
    "cnn_small": "zoo.models.cnn.CNNSmall",
    "cnn_large": "zoo.models.cnn.CNNLarge",
    "cnn_strided": "zoo.models.cnn.CNNStrided",
    "cnn_park": "zoo.models.park.CNNPark",
    "resnet18": "zoo.models.resnet.ResNet18",
}

LAYERS = {2: "Linear", 3: "Conv1d", 4: "Conv2d", 5: "Conv3d"}  # by the dimensions of their weight
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")

Choice = dict[str, Any]  # what conf/model has of a model: the class and its arguments


def choice_of(name: str, state: Mapping[str, Tensor], **values: Any) -> Choice:
    """The choice of a class by its name in CLASSES. `values`: arguments; channels and classes are the state's."""
    tensors = [value for value in state.values() if value.dim() > 1]
    sizes = {"channels_in": tensors[0].shape[1], "classes": tensors[-1].shape[0]} if tensors else {}
    return {"name": name, "_target_": CLASSES[name], **sizes, **values}


def architecture_of(choice: Choice) -> Architecture | None:
    """The architecture of a choice, built without memory, if the class is known here and takes these arguments."""
    if choice.get("_target_") != CLASSES.get(str(choice.get("name"))):
        return None
    try:
        with torch.device("meta"):
            return Architecture.of(imported(choice["_target_"])(**arguments(choice)))
    except Exception:  # arguments may be anything, and are then not of this class
        return None


def built(choice: Choice, state: Mapping[str, Tensor]) -> Architecture | None:
    """The architecture of a choice, if the class is known here and its models have just such tensors, in this order.

    What these are called is the state's own: some who wrote zoos counted layers without those for dropout.
    """
    architecture = architecture_of(choice)
    if architecture is None:
        return None
    if state.keys() == set(architecture.variants[0]):
        state = {key: state[key] for key in architecture.variants[0]}
    try:
        seen = inferred(state, architecture.model)
    except (ZooError, ValueError):
        return None
    architecture.variants = seen.variants
    return architecture if seen.tensors == architecture.tensors else None


def inferred(state: Mapping[str, Tensor], model: str) -> Architecture:
    """An architecture read off a state dict alone. Raises ZooError or ValueError if a vector can't hold it."""
    prefixes = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
    tensors: list[Entry] = []
    for key, value in state.items():
        require_kept(key, value)
        prefix, _, name = key.rpartition(".")
        kind = "buffer" if name in BUFFERS else "parameter"
        start = tensors[-1].start + tensors[-1].length if tensors else 0
        dtype = str(value.dtype).removeprefix("torch.")
        tensors.append(Entry(prefixes.index(prefix), name, kind, list(value.shape), dtype, start, value.numel()))
    layers = [layer_type(prefix, state) for prefix in prefixes]
    architecture = Architecture(model, layers, tensors, [list(state)])
    if fault := architecture.fault():
        raise ValueError(fault)
    return architecture


def layer_type(prefix: str, state: Mapping[str, Tensor]) -> str:
    """What a layer's tensors look like; "Module" if they could be anything."""
    own = {key.rpartition(".")[2]: value for key, value in state.items() if key.rpartition(".")[0] == prefix}
    if "running_mean" in own:
        return "BatchNorm2d"
    weight = own.get("weight")
    return LAYERS.get(weight.dim(), "Module") if weight is not None else "Module"


def text_of(choice: Any) -> str:
    """Equal for equal choices."""
    return json.dumps(choice, sort_keys=True, default=str)

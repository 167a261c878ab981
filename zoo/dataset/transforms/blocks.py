"""The parts of a weight vector that are one thing to those who learn from weights: a layer's weight with its bias."""

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.format.architecture import DTYPES, Architecture, Entry


@dataclass(frozen=True)
class Block:
    """A tensor [channels, ...] and, of a weight, the bias [channels] that is added to its channels."""

    key: str  # of the tensor, in the first variant of the architecture
    layer: str  # the type
    tensor: Entry
    bias: Entry | None

    @property
    def channels(self) -> int:
        return self.tensor.shape[0]

    def parts(self, weights: Tensor) -> list[Tensor]:
        """The weights [..., n] of the tensor and, if there is one, the bias, as views."""
        return [part_of(weights, entry) for entry in (self.tensor, self.bias) if entry]


def blocks(architecture: Architecture) -> list[Block]:
    """All of them, in the order of the vector: every tensor of floats that has an axis is in one.

    So running statistics of a batch norm are blocks of their own, and its counter is in none.
    """
    found = []
    paired: set[int] = set()  # where biases begin that are in a block
    for key, entry in zip(architecture.variants[0], architecture.tensors, strict=True):
        if entry.start in paired or not entry.length or not entry.shape or not DTYPES[entry.dtype].is_floating_point:
            continue
        bias = bias_of(entry, architecture)
        if bias:
            paired.add(bias.start)
        found.append(Block(key, architecture.layers[entry.layer], entry, bias))
    return found


def bias_of(weight: Entry, architecture: Architecture) -> Entry | None:
    if "weight" not in weight.name:
        return None
    name = weight.name.replace("weight", "bias")
    fits = (entry for entry in architecture.of_layer(weight.layer) if entry.shape == weight.shape[:1])
    return next((entry for entry in fits if entry.name == name), None)


def part_of(weights: Tensor, entry: Entry) -> Tensor:
    return weights[..., entry.start : entry.start + entry.length]


def trained(architecture: Architecture) -> Tensor:
    """Which numbers [length] of the vector are parameters, rather than buffers."""
    return torch.cat([torch.full((entry.length,), entry.kind == "parameter") for entry in architecture.tensors])


def require_length(weights: Tensor, architecture: Architecture) -> None:
    """Raises ZooError for weights of another architecture."""
    require_tensor(weights)
    if weights.shape[-1] != architecture.length:
        raise ZooError(
            f"weights of {weights.shape[-1]} numbers are none of a {architecture.model}, which has "
            f"{architecture.length}: give the transform the architecture of these weights"
        )


def require_tensor(weights: Tensor) -> None:
    if not isinstance(weights, Tensor) or not weights.dim():
        raise ZooError(f"a transform takes weights [..., parameters] as a tensor, not {type(weights).__name__}")

"""Augmentations that change the function a little: noise, and weights that are erased."""

import math
from numbers import Real
from typing import Literal, get_args

import torch
from torch import Tensor

from zoo.dataset.transforms.blocks import blocks, require_length, trained
from zoo.dataset.transforms.chance import Chance
from zoo.errors import ZooError
from zoo.format.architecture import Architecture

Unit = Literal["absolute", "layer", "weight"]
Erased = Literal["weights", "channels"]


class Noise:
    """Adds Gaussian noise to the parameters: weights [..., parameters] to the same shape. Buffers stay as they are."""

    batched = True

    def __init__(
        self,
        architecture: Architecture,
        deviation: float,
        unit: Unit = "absolute",
        seed: int | None = None,
    ):
        """`deviation`: of the noise, in the `unit`: `absolute` numbers; `layer`: the standard deviation of a layer's
        own weights and biases; `weight`: the weight itself (multiplicative noise). `seed`: see `Chance`.
        """
        if not is_number(deviation) or not 0 <= deviation < math.inf:
            raise ZooError(f"noise of the deviation {deviation!r}: give a number, 0 or more")
        if unit not in get_args(Unit):
            raise ZooError(f"unknown unit of noise {unit!r}: choose from {', '.join(get_args(Unit))}")
        self.architecture, self.deviation, self.unit, self.chance = architecture, deviation, unit, Chance(seed, "noise")
        self.trained = trained(architecture)
        self.blocks = [block for block in blocks(architecture) if block.tensor.kind == "parameter"]

    def __repr__(self) -> str:
        return f"Noise({self.architecture.model}, {self.deviation}, {self.unit!r})"

    def __call__(self, weights: Tensor) -> Tensor:
        require_length(weights, self.architecture)
        drawn = torch.randn(weights.shape, generator=self.chance.generator()).to(weights)
        return weights + drawn * self.scale(weights) * self.trained.to(weights.device)

    def scale(self, weights: Tensor) -> Tensor | float:
        if self.unit == "absolute":
            return self.deviation
        if self.unit == "weight":
            return self.deviation * weights
        scale = torch.zeros_like(weights)
        for block in self.blocks if weights.numel() else ():  # PyTorch warns of deviations of nothing
            deviation = torch.cat(block.parts(weights.detach()), dim=-1).std(dim=-1, correction=0, keepdim=True)
            for part in block.parts(scale):
                part.copy_(deviation.expand_as(part))
        return self.deviation * scale


class Erase:
    """Sets a share of the parameters to 0, chosen at random: weights [..., parameters] to the same shape."""

    batched = True

    def __init__(
        self,
        architecture: Architecture,
        share: float,
        what: Erased = "weights",
        seed: int | None = None,
    ):
        """`what`: `weights`, each by itself, or `channels`: all weights and the bias of an output channel, which are a
        token. Each is erased with the probability `share`. `seed`: see `Chance`.
        """
        if what not in get_args(Erased) or not is_number(share) or not 0 <= share <= 1:
            raise ZooError(
                f"can't erase {share!r} of {what!r}: give a share from 0 to 1, of {' or '.join(get_args(Erased))}"
            )
        self.architecture, self.share, self.what, self.chance = architecture, share, what, Chance(seed, "erase")
        self.trained = trained(architecture)
        self.parts = parts(architecture) if what == "channels" else torch.arange(architecture.length)
        self.count = int(self.parts.max()) + 1

    def __repr__(self) -> str:
        return f"Erase({self.architecture.model}, {self.share}, {self.what!r})"

    def __call__(self, weights: Tensor) -> Tensor:
        require_length(weights, self.architecture)
        drawn = torch.rand(*weights.shape[:-1], self.count, generator=self.chance.generator()) < self.share
        erased = drawn.index_select(-1, self.parts) & self.trained
        return weights.masked_fill(erased.to(weights.device), 0)


def is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def parts(architecture: Architecture) -> Tensor:
    """The number of the channel [length] that each place of the vector belongs to. Those of none are one channel."""
    numbers = torch.zeros(architecture.length, dtype=torch.long)
    first = 1
    for block in blocks(architecture):
        channels = torch.arange(first, first + block.channels)
        for part in block.parts(numbers):
            part.copy_(channels.repeat_interleave(len(part) // block.channels))
        first += block.channels
    return numbers

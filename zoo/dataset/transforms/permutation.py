"""Permutations of a network's hidden units: other weights, the same function."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn

from zoo.dataset.transforms.blocks import require_tensor
from zoo.dataset.transforms.chance import Chance
from zoo.dataset.transforms.tracing import Axis, trace
from zoo.errors import ZooError

__all__ = ["Axis", "Group", "Permute", "PermutationSpec"]


@dataclass(frozen=True)
class Group:
    """Units that keep the same order wherever they lie: a layer's, or several layers' that are added to each other."""

    size: int
    free: bool  # hidden, so that another order makes no other function; inputs and outputs are not
    axes: tuple[Axis, ...]


@dataclass(frozen=True)
class PermutationSpec:
    """Where a network's units lie in its weight vector.

    A permutation of a group of n units is an index tensor [..., n]: the unit at place i comes from place index[i].
    "Permutations" are a list of them, one for each free group.
    """

    shapes: tuple[tuple[int, ...], ...]  # of the tensors, in the order of the vector
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """Read off the graph of a module's forward, by torch.fx; it may be on the meta device.

        Where steps of a forward are not understood, the units that enter them are not free. Raises ZooError if the
        forward can't be traced.
        """
        shapes = tuple(tuple(value.shape) for value in module.state_dict().values())
        groups = tuple(Group(units.size, units.free, tuple(units.axes)) for units in trace(module))
        return cls(shapes, groups)

    def __repr__(self) -> str:
        sizes = ", ".join(str(group.size) for group in self.free) or "none"
        return f"PermutationSpec({len(self.shapes)} tensors, {self.length} numbers, free units: {sizes})"

    @cached_property
    def free(self) -> list[Group]:
        return [group for group in self.groups if group.free]

    @cached_property
    def lengths(self) -> list[int]:
        """Of the tensors."""
        return [math.prod(shape) for shape in self.shapes]

    @cached_property
    def length(self) -> int:
        """Of the weight vector."""
        return sum(self.lengths)

    def split(self, weights: Tensor) -> list[Tensor]:
        """The tensors [..., *shape] of weights [..., parameters], as views where possible."""
        self.require_length(weights)
        pieces = weights.split(self.lengths, dim=-1)
        return [piece.unflatten(-1, shape or (1,)) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def require_length(self, weights: Tensor) -> None:
        """Raises ZooError for weights of another network."""
        require_tensor(weights)
        if weights.shape[-1] != self.length:
            raise ZooError(f"weights of {weights.shape[-1]} numbers are not {self}'s: trace the network they are of")

    def identity(self, *batch: int) -> list[Tensor]:
        return [torch.arange(group.size).expand(*batch, -1).clone() for group in self.free]

    def draw(self, *batch: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Uniformly random permutations, each of a batch by itself."""
        return [torch.rand(*batch, group.size, generator=generator).argsort(dim=-1) for group in self.free]

    def permute(self, weights: Tensor, permutations: Sequence[Tensor]) -> Tensor:
        """The weights [..., parameters] with permuted units; leading axes are broadcast against the permutations'."""
        tensors = self.split(weights)
        for group, order in zip(self.free, permutations, strict=True):
            for axis in group.axes:
                tensors[axis.tensor] = reorder(tensors[axis.tensor], axis, len(self.shapes[axis.tensor]), order)
        return torch.cat([tensor.flatten(weights.dim() - 1) for tensor in tensors], dim=-1)

    @staticmethod
    def inverse(permutations: Sequence[Tensor]) -> list[Tensor]:
        """The ones that undo these."""
        return [order.argsort(dim=-1) for order in permutations]


def reorder(tensor: Tensor, axis: Axis, rank: int, order: Tensor) -> Tensor:
    """A tensor [..., *shape] of `rank` axes after those of the batch, with the units [..., n] of an axis permuted."""
    dim = tensor.dim() - rank + axis.axis
    if axis.repeat > 1:
        order = (order.unsqueeze(-1) * axis.repeat + torch.arange(axis.repeat, device=order.device)).flatten(-2)
    if order.dim() == 1:
        return tensor.index_select(dim, order.to(tensor.device))
    shape = (*order.shape[:-1], *(1,) * axis.axis, order.shape[-1], *(1,) * (rank - axis.axis - 1))
    return tensor.gather(dim, order.reshape(shape).to(tensor.device).expand(tensor.shape))


class Permute:
    """Permutes the hidden units at random, which changes no output: weights [..., parameters] to the same shape."""

    batched = True

    def __init__(self, spec: PermutationSpec, window: bool = False, seed: int | None = None):
        """Every vector gets permutations of its own; with `window`, the last axis but one holds the epochs of one
        model, which get the same. `seed`: see `Chance`.
        """
        self.spec, self.window, self.chance = spec, window, Chance(seed, "permute")

    def __repr__(self) -> str:
        return f"Permute({self.spec}, window={self.window})"

    def __call__(self, weights: Tensor) -> Tensor:
        self.spec.require_length(weights)
        batch = weights.shape[:-2] if self.window else weights.shape[:-1]
        permutations = self.spec.draw(*batch, generator=self.chance.generator())
        if self.window:
            permutations = [order.unsqueeze(-2) if order.dim() > 1 else order for order in permutations]
        return self.spec.permute(weights, permutations)

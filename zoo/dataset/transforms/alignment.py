"""Weight matching: the order of hidden units in which a model is most like a reference model.

Coordinate descent of Ainsworth et al. 2023 (Git Re-Basin, arXiv:2209.04836): while the others stay, the best order of
one group of units is a linear assignment. It ends in an order that no single group improves, not in the best of all.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from zoo.dataset.transforms.permutation import Group, PermutationSpec, reorder
from zoo.dataset.transforms.tracing import Axis
from zoo.errors import ZooError

SWEEPS = 100  # over all groups, at most; five are usual
TOLERANCE = 1e-7  # a gain below this share of the norms' product is rounding
AT_ONCE = 2**24  # numbers that a batch of models may have


class Align:
    """Orders hidden units as those of a reference model: weights [..., parameters] to the same shape.

    It changes no output of a network, and never lowers the inner product with the reference. A model whose weights are
    those of the reference in another order becomes the reference. Where it is not finite, a model is left as it is.
    """

    batched = True

    def __init__(self, spec: PermutationSpec, reference: Tensor, window: bool = False):
        """`reference`: the weights [parameters]. With `window`, the last axis but one holds the epochs of one model:
        its last finite epoch is matched, and all are put into that order. Raises ZooError if the reference is not
        finite.
        """
        spec.require_length(reference)
        if reference.dim() != 1 or not reference.isfinite().all():
            raise ZooError("a reference for alignment is one vector of finite weights: choose a model that converged")
        self.spec, self.reference, self.window = spec, reference, window

    def __repr__(self) -> str:
        return f"Align({self.spec}, window={self.window})"

    def __call__(self, weights: Tensor) -> Tensor:
        permutations = self.match(weights)
        if self.window and weights.dim() > 2:
            permutations = [order.unsqueeze(-2) for order in permutations]
        return self.spec.permute(weights, permutations)

    def match(self, weights: Tensor) -> list[Tensor]:
        """The permutations of the free groups that align weights [..., parameters], or [..., epochs, parameters] with
        `window`, for `PermutationSpec.permute`.
        """
        self.spec.require_length(weights)
        chosen = last_finite(weights) if self.window and weights.dim() > 1 else weights
        models = chosen.detach().reshape(-1, self.spec.length).float()
        reference = self.reference.detach().to(models)
        found = self.spec.identity(len(models))
        rows = models.isfinite().all(dim=1).nonzero().squeeze(1)
        for part in rows.split(max(1, AT_ONCE // self.spec.length)) if len(rows) else ():
            for group, order in zip(found, best_orders(self.spec, reference, models[part]), strict=True):
                group[part.cpu()] = order
        return [order.reshape(*chosen.shape[:-1], order.shape[-1]) for order in found]


def last_finite(weights: Tensor) -> Tensor:
    """Of the epochs [..., epochs, parameters], the last one with finite weights, else the first: [..., parameters].

    NaN of none.
    """
    if not weights.shape[-2]:
        return weights.new_full((*weights.shape[:-2], weights.shape[-1]), torch.nan)
    finite = weights.isfinite().all(dim=-1)
    last = (finite * torch.arange(1, finite.shape[-1] + 1, device=weights.device)).argmax(dim=-1)
    return weights.take_along_dim(last[..., None, None], dim=-2).squeeze(-2)


def best_orders(spec: PermutationSpec, reference: Tensor, models: Tensor) -> list[Tensor]:
    """Permutations [models, n] of each free group: the better of two descents, or none if both made it worse."""
    best = spec.identity(len(models))
    highest = product(reference, models)
    for outwards in (True, False):
        descent = Descent(spec, reference, models)
        if outwards:
            descent.from_the_input()
        descent.run()
        reached = product(reference, spec.permute(models, descent.orders))
        better = (reached > highest).cpu()
        highest = torch.maximum(reached, highest)
        for order, other in zip(best, descent.orders, strict=True):
            order[better] = other[better]
    return best


def product(reference: Tensor, models: Tensor) -> Tensor:
    """Inner products [models] of the reference with each, in double precision."""
    return models.double() @ reference.double()


class Descent:
    """Of a batch of models, in lockstep, from the order that they have."""

    def __init__(self, spec: PermutationSpec, reference: Tensor, models: Tensor):
        self.groups = spec.free
        self.ranks = [len(shape) for shape in spec.shapes]
        self.target = spec.split(reference)
        self.tensors = [tensor.clone() for tensor in spec.split(models)]  # in the order reached so far
        self.orders = spec.identity(len(models))
        self.least = TOLERANCE * reference.double().norm() * models.double().norm(dim=1)  # that counts as a gain

    def run(self) -> None:
        """Improve one group after the other until none can be."""
        active = torch.arange(len(self.least))
        for _ in range(SWEEPS):
            improved = torch.zeros(len(active), dtype=torch.bool)
            for number in range(len(self.groups)):
                improved |= self.improve(number, active)
            active = active[improved]
            if not len(active):
                return

    def improve(self, number: int, active: Tensor) -> Tensor:
        """Order a group of units as the others' orders have it; -> which of the active models that made better."""
        group = self.groups[number]
        orders = assignment(self.similarity(group, group.axes, active))
        changed = (orders != torch.arange(group.size)).any(dim=1)
        rows, orders = active[changed], orders[changed]
        moved = self.moved(group, orders, rows)
        # not as promised by the assignment where units lie on two axes of one tensor, as with x + linear(x)
        gains = ((new - self.tensors[tensor][rows]) * self.target[tensor] for tensor, new in moved.items())
        gained = sum(gain.flatten(1).sum(dim=1, dtype=torch.double) for gain in gains)
        better = (gained > self.least[rows]).cpu()
        self.accept(number, {tensor: new[better] for tensor, new in moved.items()}, orders[better], rows[better])
        improved = torch.zeros(len(active), dtype=torch.bool)
        improved[changed] = better
        return improved

    def from_the_input(self) -> None:
        """Order group after group by those tensors alone whose other axes are in order already.

        Where two models differ in nothing but the order, that finds it: then every unit is most like itself.
        """
        waiting = {axis: number for number, group in enumerate(self.groups) for axis in group.axes}
        everyone = torch.arange(len(self.least))
        for number, group in enumerate(self.groups):
            tensors = [axis.tensor for axis in waiting]  # once for each axis that is not in order
            known = [axis for axis in group.axes if tensors.count(axis.tensor) == 1]
            if known:
                orders = assignment(self.similarity(group, known, everyone))
                self.accept(number, self.moved(group, orders, everyone), orders, everyone)
                waiting = {axis: owner for axis, owner in waiting.items() if owner != number}

    def similarity(self, group: Group, axes: Sequence[Axis], rows: Tensor) -> Tensor:
        """Inner products [models, n, n] of each unit of the reference with each of a model, over some of its axes."""
        total = torch.zeros(())
        for axis in axes:
            units = self.target[axis.tensor].movedim(axis.axis, 0).reshape(group.size, -1)
            models = self.tensors[axis.tensor][rows].movedim(axis.axis + 1, 1).reshape(len(rows), group.size, -1)
            total = total + units @ models.mT
        return total

    def moved(self, group: Group, orders: Tensor, rows: Tensor) -> dict[int, Tensor]:
        """The tensors in which a group lies, with its units in another order."""
        tensors = {axis.tensor: self.tensors[axis.tensor][rows] for axis in group.axes}
        for axis in group.axes:
            tensors[axis.tensor] = reorder(tensors[axis.tensor], axis, self.ranks[axis.tensor], orders)
        return tensors

    def accept(self, number: int, moved: dict[int, Tensor], orders: Tensor, rows: Tensor) -> None:
        for tensor, new in moved.items():
            self.tensors[tensor][rows] = new
        self.orders[number][rows] = self.orders[number][rows].gather(1, orders)


def assignment(similarity: Tensor) -> Tensor:
    """For each matrix [n, n] of [models, n, n], the columns [n] that give its rows the highest sum, each taken once."""
    from scipy.optimize import linear_sum_assignment  # takes as long to import as all the rest of the transforms

    found = [linear_sum_assignment(matrix, maximize=True)[1] for matrix in similarity.cpu().numpy()]
    return torch.from_numpy(np.array(found, dtype=np.int64).reshape(similarity.shape[:2]))

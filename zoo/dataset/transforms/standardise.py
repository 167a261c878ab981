"""Weights with mean 0 and standard deviation 1 in every layer, over a population of models."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from zoo.dataset.transforms.blocks import Block, blocks, require_length
from zoo.errors import ZooError
from zoo.format.architecture import Architecture

AT_ONCE = 2**22  # numbers that are read at once


class Standardise:
    """Subtracts a mean from each layer and divides it by a standard deviation, `fit` on the models of the train split:
    weights [..., parameters] to the same shape.

    As in SANE, a layer is its weight and its bias together, the mean is the mean of the models' means, and the
    deviation the root of the mean of their variances. Running means and variances of batch norms are layers of their
    own. A layer whose numbers are all the same is divided by 1, and counters are left as they are.
    """

    batched = True

    def __init__(self, architecture: Architecture):
        self.architecture = architecture
        self.blocks = blocks(architecture)
        self.means: Tensor | None = None  # [blocks]
        self.deviations: Tensor | None = None
        self.scale: tuple[Tensor, Tensor] | None = None  # mean and deviation of each number [parameters]

    def __repr__(self) -> str:
        return (
            f"Standardise({self.architecture.model}: {len(self.blocks)} layers{'' if self.scale else ', not fitted'})"
        )

    def fit(self, weights: Tensor) -> Self:
        """To states [samples, parameters]. Raises ZooError if there is none, or any is not finite."""
        require_length(weights, self.architecture)
        if weights.dim() != 2 or not len(weights):
            raise ZooError(f"fit to weights [samples, parameters], one sample or more, not {list(weights.shape)}")
        sums = torch.zeros(2, len(self.blocks), dtype=torch.double)
        for part in weights.split(max(1, AT_ONCE // self.architecture.length)):
            sums += moments(self.blocks, part)
        means, variances = sums / len(weights)
        if not sums.isfinite().all():
            raise ZooError("fit to finite weights: leave out models that diverged (ZooDataset's finite=True does)")
        return self.use(means, variances.sqrt())

    def use(self, means: Tensor, deviations: Tensor) -> Self:
        """Means and deviations [layers] that were fitted before. Raises ZooError for those of other layers."""
        if not means.shape == deviations.shape == (len(self.blocks),):
            found = f"{list(means.shape)} and {list(deviations.shape)}"
            raise ZooError(f"{self} takes means and deviations of [{len(self.blocks)}], not {found}")
        self.means, self.deviations = means, torch.where(deviations > 0, deviations, 1)
        mean, deviation = torch.zeros(self.architecture.length), torch.ones(self.architecture.length)
        for number, block in enumerate(self.blocks):
            for target, values in ((mean, self.means), (deviation, self.deviations)):
                for part in block.parts(target):
                    part.fill_(float(values[number]))
        self.scale = mean, deviation
        return self

    def __call__(self, weights: Tensor) -> Tensor:
        mean, deviation = self.fitted(weights)
        return (weights - mean) / deviation

    def inverse(self, weights: Tensor) -> Tensor:
        mean, deviation = self.fitted(weights)
        return weights * deviation + mean

    def fitted(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        require_length(weights, self.architecture)
        if self.scale is None:
            raise ZooError("this Standardise has no means yet: `fit` it to the weights of the train split")
        return self.scale[0].to(weights.device), self.scale[1].to(weights.device)


def moments(blocks: Sequence[Block], weights: Tensor) -> Tensor:
    """Sums over samples [samples, parameters] of the blocks' means and (unbiased) variances: [2, blocks]."""
    found = torch.zeros(2, len(blocks), dtype=torch.double)
    for number, block in enumerate(blocks):
        values = torch.cat(block.parts(weights), dim=-1).double()
        found[0, number] = values.mean(dim=-1).sum()
        if values.shape[-1] > 1:
            found[1, number] = values.var(dim=-1).sum()
    return found

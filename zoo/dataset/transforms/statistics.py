"""s(W): weights in a few numbers for each tensor (Unterthiner et al. 2020; Schürholt et al. 2022, Section 4)."""

import numpy as np
import torch
from torch import Tensor

from zoo.dataset.transforms.blocks import part_of, require_length
from zoo.format.architecture import Architecture

PERCENTILES = (1, 25, 50, 75, 99)
NAMES = ("mean", "variance", *(f"percentile_{percentile}" for percentile in PERCENTILES))


class Statistics:
    """Weights [..., parameters] to features [..., 7 for each tensor]: mean, variance, percentiles 1, 25, 50, 75, 99.

    Weights and biases are apart, in the order of the vector; buffers are left out. A five-layer CNN has 70. The
    variance is that of a population (divided by n); percentiles are interpolated linearly, as numpy's. `names` are
    the features'.
    """

    batched = True

    def __init__(self, architecture: Architecture):
        self.architecture = architecture
        pairs = zip(architecture.variants[0], architecture.tensors, strict=True)
        self.tensors = {key: entry for key, entry in pairs if entry.kind == "parameter" and entry.length}
        self.names = [f"{key}.{name}" for key in self.tensors for name in NAMES]
        shares = torch.tensor(PERCENTILES, dtype=torch.double) / 100
        lengths = [entry.length for entry in self.tensors.values()]
        places = torch.stack([shares * (length - 1) for length in lengths])  # [tensors, percentiles], in the tensor
        ends = torch.tensor(lengths).cumsum(0).unsqueeze(1)
        self.below = ends - torch.tensor(lengths).unsqueeze(1) + places.long()  # in all tensors, one after another
        self.above = (self.below + 1).minimum(ends - 1)
        self.between = (places - places.long()).float()

    def __repr__(self) -> str:
        return f"Statistics({self.architecture.model}: {len(self.names)} features)"

    def __call__(self, weights: Tensor) -> Tensor:
        require_length(weights, self.architecture)
        if not weights.numel():  # PyTorch warns of the moments of nothing
            return weights.new_empty(*weights.shape[:-1], len(self.names))
        tensors = [part_of(weights, entry) for entry in self.tensors.values()]
        moments = [moment for tensor in tensors for moment in reversed(torch.var_mean(tensor, dim=-1, correction=0))]
        features = [torch.stack(moments, dim=-1).unflatten(-1, (-1, 2)), self.percentiles(tensors)]
        return torch.cat(features, dim=-1).flatten(-2)

    def percentiles(self, tensors: list[Tensor]) -> Tensor:
        """[..., tensors, 5]"""
        ordered = torch.cat([ascending(tensor) for tensor in tensors], dim=-1)
        low, high = (
            ordered.index_select(-1, places.flatten().to(ordered.device)).unflatten(-1, places.shape)
            for places in (self.below, self.above)
        )
        return low.lerp(high, self.between.to(low))


def ascending(values: Tensor) -> Tensor:
    """Sorted along the last axis: by NumPy, which takes a tenth of PyTorch's time, where it can."""
    if values.device.type != "cpu" or values.requires_grad:
        return values.sort(dim=-1).values
    return torch.from_numpy(np.sort(values.numpy(), axis=-1))

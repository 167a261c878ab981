"""s(W): weights in a few numbers for each tensor (Unterthiner et al. 2020; Schürholt et al. 2022, Section 4)."""

import torch
from torch import Tensor

from zoo.dataset.transforms.blocks import part_of, require_length
from zoo.format.architecture import Architecture

PERCENTILES = (1, 25, 50, 75, 99)
NAMES = ("mean", "variance", *(f"percentile_{percentile}" for percentile in PERCENTILES))


class Statistics:
    """Weights [..., parameters] to features [..., 7 for each tensor]: mean, variance, percentiles 1, 25, 50, 75, 99.

    Weights and biases are apart, in the order of the vector; buffers are left out. A five-layer CNN has 70 of them. The
    variance is that of a population (divided by n); percentiles are interpolated linearly, as numpy's. `names` are
    the features'.
    """

    def __init__(self, architecture: Architecture):
        self.architecture = architecture
        pairs = zip(architecture.variants[0], architecture.tensors, strict=True)
        self.tensors = {key: entry for key, entry in pairs if entry.kind == "parameter" and entry.length}
        self.names = [f"{key}.{name}" for key in self.tensors for name in NAMES]

    def __repr__(self) -> str:
        return f"Statistics({self.architecture.model}: {len(self.names)} features)"

    def __call__(self, weights: Tensor) -> Tensor:
        require_length(weights, self.architecture)
        return torch.cat([summary(part_of(weights, entry)) for entry in self.tensors.values()], dim=-1)


def summary(values: Tensor) -> Tensor:
    """[..., n] to [..., 7]."""
    variance, mean = torch.var_mean(values, dim=-1, correction=0)
    return torch.cat([mean.unsqueeze(-1), variance.unsqueeze(-1), percentiles(values)], dim=-1)


def percentiles(values: Tensor) -> Tensor:
    """[..., n] to [..., 5]. All by one sort, which torch.quantile does in double the time, and not for many numbers."""
    ordered = values.sort(dim=-1).values
    places = torch.tensor(PERCENTILES, dtype=torch.double) / 100 * (values.shape[-1] - 1)
    below = places.long()
    above = (below + 1).clamp(max=values.shape[-1] - 1)
    low, high = (ordered.index_select(-1, index.to(values.device)) for index in (below, above))
    return torch.lerp(low, high, (places - below).to(low))

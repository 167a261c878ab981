"""What models are predicted from: all weights, w, or a few statistics of each tensor, s(w)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from zoo.analysis.benchmark.samples import Samples
from zoo.dataset.transforms.statistics import Statistics

BYTES = 2**27  # of weights at once
STATES_AT_ONCE = 2**10


def statistics(samples: Samples) -> np.ndarray:
    """s(w) of each state, one after the other: [samples, steps x features]."""
    transform = Statistics(samples.dataset.architecture)
    steps = [
        torch.cat([transform(torch.stack(part)) for part in parts(views, STATES_AT_ONCE)])
        for views in by_step(samples)
        if views
    ]
    return torch.cat(steps, dim=1).double().numpy() if steps else np.empty((0, len(transform.names)))


def by_step(samples: Samples) -> list[list[Tensor]]:
    """The states' weights [length] as views of the file, by step and sample."""
    state = samples.dataset.mapped.state
    return [list(map(state, samples.models.tolist(), epochs)) for epochs in samples.epochs.T.tolist()]


def parts(views: list[Tensor], size: int) -> Iterator[list[Tensor]]:
    return (views[start : start + size] for start in range(0, len(views), size))


def weights(groups: Sequence[Samples], fitted: np.ndarray | None = None, whole: bool = False) -> np.ndarray:
    """w of all samples of all groups, one after the other: [samples, steps x parameters], in double precision.

    Of more weights than samples, other vectors [samples, samples] with the same differences, unless they are to be
    `whole`: to a linear model with an offset and a quadratic penalty both are the same, and these fit into memory.
    `fitted`: standardise by the samples that it marks.
    """
    count = sum(map(len, groups))
    found = (block if fitted is None else standardised(block, fitted) for block in blocks(groups))
    if whole or width(groups[0]) <= count:
        return np.concatenate([np.empty((count, 0)), *found], axis=1)
    products = np.zeros((count, count))
    for block in found:
        block = block - block.mean(axis=0)  # what is common to all would take digits
        products += block @ block.T
    squares, directions = np.linalg.eigh(products)
    return directions * np.sqrt(np.maximum(squares, 0))


def width(samples: Samples) -> int:
    """How many weights a sample has."""
    trained = [entry.length for entry in samples.dataset.architecture.tensors if entry.kind == "parameter"]
    return sum(trained) * samples.epochs.shape[1]


def blocks(groups: Sequence[Samples]) -> Iterator[np.ndarray]:
    """The trained parameters [samples, some], one part after another, in double precision."""
    views: list[list[Tensor]] = [sum(step, []) for step in zip(*map(by_step, groups), strict=True)]
    for entry in groups[0].dataset.architecture.tensors:
        if entry.kind == "parameter":
            size = max(1, BYTES // (8 * max(1, sum(map(len, groups)))))
            for start in range(entry.start, entry.start + entry.length, size):
                end = min(start + size, entry.start + entry.length)
                for step in views:
                    yield torch.stack([view[start:end] for view in step]).double().numpy()


def same_weights(first: Samples, second: Samples) -> bool:
    """Whether a weight of one zoo is the same weight in the other."""
    own, other = (samples.dataset.architecture.tensors for samples in (first, second))
    return [(one.kind, tuple(one.shape)) for one in own] == [(one.kind, tuple(one.shape)) for one in other]


def standardised(features: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """With mean 0 and deviation 1 over the samples that `fitted` marks; a constant one is only moved."""
    means, deviations = features[fitted].mean(axis=0), features[fitted].std(axis=0)
    varies = deviations > 1e-12 * np.abs(means)
    return (features - means) / np.where(varies, deviations, 1)

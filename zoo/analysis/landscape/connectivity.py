"""The loss and the accuracy along paths from one model to another."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from zoo.analysis import outputs
from zoo.data.images import Split
from zoo.dataset.forward import Many
from zoo.format.architecture import Architecture


@dataclass(frozen=True)
class Bends:
    """How paths are followed, at so many points, and curves trained: in so many steps, on batches of images."""

    points: int
    steps: int
    batch: int
    lr: float
    seed: int


@dataclass(frozen=True)
class Profile:
    """Along some paths: mean cross-entropy and share of wrong predictions, each [paths, points], both ends included."""

    loss: np.ndarray
    error: np.ndarray

    def barrier(self, of: str) -> np.ndarray:
        """How far it rises [paths] above the line between the ends, 0 if nowhere (Frankle et al. 2020)."""
        values = getattr(self, of)
        share = np.linspace(0, 1, values.shape[1])
        line = values[:, :1] * (1 - share) + values[:, -1:] * share
        return np.asarray((values - line).max(axis=1))

    def connectivity(self, of: str) -> np.ndarray:
        """Yang et al. 2021's mode connectivity [paths]: the mean of the ends minus the value that differs most from it.

        Below 0 there is a barrier between the models, above 0 a better model; near 0 they are connected.
        """
        values = getattr(self, of)
        mean = (values[:, 0] + values[:, -1]) / 2
        furthest = np.abs(values - mean[:, None]).argmax(axis=1)
        return np.asarray(mean - values[np.arange(len(values)), furthest])


def profile(
    network: nn.Module, architecture: Architecture, path: Callable[[float], Tensor], points: int, split: Split
) -> Profile:
    """`path`: from a place in [0, 1] to weights [paths, length]."""
    loss, error = [], []
    for share in np.linspace(0, 1, points).tolist():
        losses, errors = scores(network, architecture, path(share), split)
        loss.append(losses)
        error.append(errors)
    return Profile(np.stack(loss, axis=1), np.stack(error, axis=1))


def scores(
    network: nn.Module, architecture: Architecture, weights: Tensor, split: Split
) -> tuple[np.ndarray, np.ndarray]:
    """Mean cross-entropy and share of wrong predictions of models [models], given by their weights [models, length]."""
    loss, error = np.empty(len(weights)), np.empty(len(weights))
    for places, logits in outputs.logits_of(network, architecture, weights, split.images):
        labels = split.labels.expand(len(logits), -1)
        loss[places] = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").double().mean(1).numpy()
        error[places] = (logits.argmax(2) != labels).double().mean(1).numpy()
    return loss, error


def line(first: Tensor, second: Tensor) -> Callable[[float], Tensor]:
    return lambda share: first.lerp(second, share)


def bezier(first: Tensor, middle: Tensor, second: Tensor) -> Callable[[float], Tensor]:
    """A quadratic curve from the first to the second, that the middle bends."""
    return lambda share: (1 - share) ** 2 * first + 2 * share * (1 - share) * middle + share**2 * second


def bent(
    network: nn.Module,
    architecture: Architecture,
    first: Tensor,
    second: Tensor,
    split: Split,
    bends: Bends,
) -> Tensor:
    """The middles [paths, length] of Bezier curves with little loss all along, between weights [paths, length].

    Trained by Adam at random places of the curves, as Garipov et al. 2018 ("Loss Surfaces, Mode Connectivity, and Fast
    Ensembling of DNNs", Section 3) do with SGD, from the middle of the straight line.
    """
    many = Many(network, architecture)
    trained = {name for name, _ in network.named_parameters()}
    random = np.random.default_rng(bends.seed)

    def loss(middle: Tensor, start: Tensor, end: Tensor, share: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        point = (1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end
        stacked = {key: tensor.squeeze(0) for key, tensor in many.stacked(point.unsqueeze(0)).items()}
        state = {key: tensor if key in trained else tensor.detach() for key, tensor in stacked.items()}
        return F.cross_entropy(functional_call(network, state, (images,)), labels)

    gradients = vmap(grad(loss), in_dims=(0, 0, 0, None, None, None))
    middle = ((first + second) / 2).clone()
    optimizer = torch.optim.Adam([middle], lr=bends.lr)
    for _ in range(bends.steps):
        chosen = torch.from_numpy(random.choice(len(split), min(bends.batch, len(split)), replace=False))
        share = torch.tensor(random.random(), dtype=torch.float32)
        middle.grad = gradients(middle, first, second, share, split.images[chosen], split.labels[chosen])
        optimizer.step()
    return middle

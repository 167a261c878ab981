"""The Hessian of the loss, by its products with vectors: of several models at once."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from zoo.data.images import Split
from zoo.dataset.forward import Many
from zoo.format.architecture import Architecture

State = dict[str, Tensor]


@dataclass(frozen=True)
class Losses:
    """The mean cross-entropy of some models on the same images, in evaluation mode, by their trained parameters.

    The models differ in nothing but their weights [models, length]. Vectors of parameters are [models, parameters]: the
    trained ones, in the order of the weights. `batch`: images at once.
    """

    network: nn.Module
    architecture: Architecture
    weights: Tensor
    split: Split
    batch: int

    @property
    def stacked(self) -> tuple[State, State]:
        """Parameters, and buffers, each tensor [models, *shape]."""
        state = Many(self.network, self.architecture).stacked(self.weights)
        trained = {name for name, _ in self.network.named_parameters()}
        return {k: v for k, v in state.items() if k in trained}, {k: v for k, v in state.items() if k not in trained}

    def loss_of_one(self, parameters: State, buffers: State, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(self.network, (parameters, buffers), (images,)), labels)

    def over_batches(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The mean over all images of what `function` gives for a batch's mean."""
        total = torch.zeros(())
        for images, labels in zip(
            self.split.images.split(self.batch), self.split.labels.split(self.batch), strict=True
        ):
            total = total + function(images, labels) * (len(labels) / len(self.split))
        return total

    def values(self) -> Tensor:
        """[models]"""
        parameters, buffers = self.stacked
        of_all = vmap(self.loss_of_one, in_dims=(0, 0, None, None))
        with torch.no_grad():
            return self.over_batches(lambda images, labels: of_all(parameters, buffers, images, labels))

    def gradients(self) -> Tensor:
        """[models, parameters]"""
        parameters, buffers = self.stacked
        of_all = vmap(grad(self.loss_of_one), in_dims=(0, 0, None, None))
        return self.over_batches(lambda images, labels: joined(of_all(parameters, buffers, images, labels)))

    def hessian_times(self, vectors: Tensor) -> Tensor:
        """The product of each model's Hessian with its vector: [models, parameters] to the same."""
        parameters, buffers = self.stacked
        direction = parted(vectors, parameters)

        def along_gradient(own: State, rest: State, along: State, images: Tensor, labels: Tensor) -> Tensor:
            gradients = grad(self.loss_of_one)(own, rest, images, labels)
            return sum(((gradients[key] * along[key]).sum() for key in own), torch.zeros(()))

        of_all = vmap(grad(along_gradient), in_dims=(0, 0, 0, None, None))
        return self.over_batches(lambda images, labels: joined(of_all(parameters, buffers, direction, images, labels)))

    def moved(self, steps: Tensor) -> "Losses":
        """The same where each model's parameters are moved by its step [models, parameters]."""
        weights, start = self.weights.clone(), 0
        for entry in self.architecture.tensors:
            if entry.kind == "parameter":
                weights[:, entry.start : entry.start + entry.length] += steps[:, start : start + entry.length]
                start += entry.length
        return Losses(self.network, self.architecture, weights, self.split, self.batch)

    @property
    def parameters(self) -> int:
        return sum(entry.length for entry in self.architecture.tensors if entry.kind == "parameter")


def joined(state: State) -> Tensor:
    """Tensors [models, *shape] as one [models, parameters]."""
    return torch.cat([tensor.flatten(1) for tensor in state.values()], dim=1)


def parted(vectors: Tensor, like: State) -> State:
    pieces = vectors.split([tensor[0].numel() for tensor in like.values()], dim=1)
    return {key: piece.view(tensor.shape) for (key, tensor), piece in zip(like.items(), pieces, strict=True)}


# ------------------------------------------------------------------------------------------------------ what is found


def top_eigenvalues(losses: Losses, iterations: int, tolerance: float, seed: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue of each model's Hessian [models], and a bound of its error [models].

    By Lanczos' method with full reorthogonalisation (Golub and Van Loan, Matrix Computations, 10.3), which needs fewer
    products than power iteration; it ends when every bound is below `tolerance` times the eigenvalue, or after so many
    products.
    """
    models, size = len(losses.weights), losses.parameters
    generator = torch.Generator().manual_seed(seed)
    vector = F.normalize(torch.randn(models, size, generator=generator), dim=1)
    basis, diagonal, beside = [vector], [], []
    values = errors = torch.zeros(models, dtype=torch.float64)
    for step in range(1, min(iterations, size) + 1):
        product = losses.hessian_times(basis[-1])
        diagonal.append((product.double() * basis[-1].double()).sum(1))
        span = torch.stack(basis, dim=1)
        for _ in range(2):  # once more, since rounding leaves something of them
            product = product - torch.einsum("msp,ms->mp", span, torch.einsum("msp,mp->ms", span, product))
        beside.append(product.double().norm(dim=1))
        found, vectors = torch.linalg.eigh(tridiagonal(diagonal, beside[:-1]))
        values, errors = found[:, -1], beside[-1] * vectors[:, -1, -1].abs()
        if step > 1 and (errors <= tolerance * values.abs()).all():
            break
        basis.append(F.normalize(product, dim=1))
    return values, errors


def tridiagonal(diagonal: list[Tensor], beside: list[Tensor]) -> Tensor:
    """Matrices [models, n, n] with these numbers [models] on the diagonal, and on both sides of it."""
    matrix = torch.diag_embed(torch.stack(diagonal, dim=1))
    if beside:
        off = torch.diag_embed(torch.stack(beside, dim=1), offset=1)
        matrix = matrix + off + off.transpose(1, 2)
    return matrix


def traces(losses: Losses, probes: int, seed: int) -> tuple[Tensor, Tensor]:
    """The trace of each model's Hessian [models], and the estimate's standard error [models]; NaN of one probe.

    Hutchinson's estimate (1990): the mean of v H v over random vectors v of -1 and 1.
    """
    models, size = len(losses.weights), losses.parameters
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(probes):
        vector = torch.randint(0, 2, (1, size), generator=generator).float().mul(2).sub(1).expand(models, size)
        found.append((losses.hessian_times(vector).double() * vector.double()).sum(1))
    estimates = torch.stack(found)
    error = estimates.std(0) / math.sqrt(probes) if probes > 1 else torch.full((models,), torch.nan)
    return estimates.mean(0), error


def sharpness(losses: Losses, radius: float) -> Tensor:
    """How much the loss rises [models] by a step of this length along its gradient (Foret et al. 2021, SAM, eq. 2)."""
    return losses.moved(radius * F.normalize(losses.gradients(), dim=1)).values() - losses.values()

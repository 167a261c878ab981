"""Many models on the same images at once."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from zoo.errors import ZooError, one_line
from zoo.format.architecture import DTYPES, Architecture


@dataclass(frozen=True)
class Many:
    """Models that differ in nothing but weights."""

    network: nn.Module  # in evaluation mode, with any weights
    architecture: Architecture

    def stacked(self, weights: Tensor) -> dict[str, Tensor]:
        """One state dict of all: each tensor [models, *shape], of weights [models, parameters]."""
        return {
            key: weights[:, entry.start : entry.start + entry.length]
            .reshape(len(weights), *entry.shape)
            .to(DTYPES[entry.dtype])
            for key, entry in zip(self.network.state_dict(), self.architecture.tensors, strict=True)
        }

    @torch.no_grad()
    def outputs(self, weights: Tensor, images: Tensor, at_once: int) -> Tensor:
        """[models, images, classes], of so many images at once."""

        def of_one(state: dict[str, Tensor], some: Tensor) -> Tensor:
            return functional_call(self.network, state, (some,))

        states, of_all = self.stacked(weights), vmap(of_one, in_dims=(0, None))
        try:
            return torch.cat([of_all(states, images[part]) for part in chunks(len(images), at_once)], dim=1)
        except RuntimeError as error:
            what = f"{list(images.shape)} ({images.dtype}, {images.device})"
            raise ZooError(f"{self.architecture.model} can't take images {what}: {one_line(error)[:300]}") from error


def chunks(count: int, size: int) -> list[slice]:
    """At least one, which is empty if there is nothing."""
    return [slice(start, min(start + size, count)) for start in range(0, max(count, 1), size)]

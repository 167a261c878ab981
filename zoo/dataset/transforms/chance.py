"""The random numbers of transforms, also where the processes of a DataLoader draw them."""

from typing import Any

import torch
from torch.utils.data import get_worker_info

from zoo.errors import ZooError
from zoo.random import derive


class Chance:
    """What one transform draws from: a generator of its own, by its seed, or without a seed PyTorch's global one.

    Every process of a DataLoader has its own numbers, others in each epoch, the same whenever the loader's generator is
    seeded alike: so PyTorch does for the global generator, and this for those with a seed, whose copies would all draw
    the same. A pickled copy begins anew.
    """

    def __init__(self, seed: int | None, purpose: str):
        if seed is not None and type(seed) is not int:
            raise ZooError(f"seed={seed!r}: give a whole number, or None")
        self.seed, self.purpose = seed, purpose
        self.made: torch.Generator | None = None
        self.process: int | None = None  # the seed of the process that it was made in, of a DataLoader's

    def __getstate__(self) -> dict[str, Any]:
        """Without the generator, whose state would not reach a process that is started anew."""
        return {"seed": self.seed, "purpose": self.purpose, "made": None, "process": None}

    def generator(self) -> torch.Generator | None:
        if self.seed is None:
            return None
        worker = get_worker_info()
        process = worker.seed if worker else None
        if self.made is None or process != self.process:
            self.made = torch.Generator().manual_seed(derive(self.seed, self.purpose, process or 0))
            self.process = process
        return self.made

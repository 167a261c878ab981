"""The random numbers of transforms, also where the processes of a DataLoader draw them."""

import torch
from torch.utils.data import get_worker_info


class Chance:
    """Whose numbers a transform draws: those of its own generator, or PyTorch's global ones.

    A DataLoader seeds the global ones for each of its processes, anew in each epoch. There, a generator of one's own is
    seeded anew as well, by its seed and the process's: copies of it would draw the same numbers in all of them.
    """

    def __init__(self, own: torch.Generator | None = None):
        self.own = own
        self.process: int | None = None  # the seed of the process that it was seeded for

    def generator(self) -> torch.Generator | None:
        worker = get_worker_info()
        if self.own is not None and worker is not None and worker.seed != self.process:
            self.process = worker.seed
            self.own = torch.Generator().manual_seed((self.own.initial_seed() + worker.seed) % 2**63)
        return self.own

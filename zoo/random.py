"""Everything random follows from a model's seed, by counting rather than by carrying a generator's state along.

A stream of random numbers is named by (seed, purpose, epoch), so an epoch's data order, dropout and augmentation are
the same whether the epochs before it were trained in this process, in another, or in a pack with other models.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def derive(seed: int, purpose: str, epoch: int) -> int:
    """A 64-bit seed for one purpose in one epoch, uncorrelated with every other's."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()[:8], "little")


def data_order(seed: int, epoch: int, n: int) -> "np.ndarray":
    """The order [n] in which an epoch visits the training images, int64.

    Sorts raw Philox output, whose bits NumPy guarantees for ever, unlike those of its or PyTorch's permutations.
    """
    import numpy as np  # which takes a moment, and `train.py --help` has none

    bits = np.random.Philox(key=derive(seed, "order", epoch)).random_raw(n)
    return np.argsort(bits, kind="stable")


def distinct_seed(draw: int, *node: object) -> int:
    """The `draw`-th of a node's random seeds, uniform in 0..1,000,000 and distinct within the node.

    Drawn from a hash of the node's values, so they are the same on every machine.
    """
    name = "/".join(repr(value) for value in node)
    drawn: list[int] = []
    counter = 0
    while len(drawn) <= draw:
        candidate = int.from_bytes(hashlib.sha256(f"{name}#{counter}".encode()).digest()[:8], "little") % 1_000_001
        if candidate not in drawn:
            drawn.append(candidate)
        counter += 1
    return drawn[draw]

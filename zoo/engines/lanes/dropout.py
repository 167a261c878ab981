"""The engine's dropout masks in numpy: the reference that its kernels are tested against."""

from math import prod

import numpy as np

MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], dtype=np.uint64)
INCREMENTS = (0x9E3779B9, 0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)


def philox(counter: np.ndarray, key: int, rounds: int = 10) -> np.ndarray:
    """Philox4x32 (Salmon et al. 2011): uint32 [..., 4] from a counter uint32 [..., 4] and a key of 64 bits."""
    c0, c1, c2, c3 = (counter[..., w].astype(np.uint64) for w in range(4))
    for r in range(rounds):
        k0 = np.uint64(((key & 0xFFFFFFFF) + r * INCREMENTS[0]) & 0xFFFFFFFF)
        k1 = np.uint64(((key >> 32) + r * INCREMENTS[1]) & 0xFFFFFFFF)
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> np.uint64(32)) ^ c1 ^ k0, p1 & LOW, (p0 >> np.uint64(32)) ^ c3 ^ k1, p0 & LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def dropout_mask(key: int, step: int, layer: int, batch: int, shape: tuple[int, ...], rate: float) -> np.ndarray:
    """The factors, 0 or 1 / (1 - rate), that training multiplies a dropout layer's input with: float32 [batch, *shape].

    `key` is the model's, `step` counts the optimizer steps before this one, `layer` is the number of the dropout layer
    in the network, from 0. An element has 16 random bits; it is dropped when they are below rate * 65536 (rounded).
    """
    size = prod(shape)
    blocks = -(-size // 8)
    counter = np.empty((batch, blocks, 4), dtype=np.uint32)
    counter[..., 0] = np.arange(blocks)
    counter[..., 1] = np.arange(batch)[:, None]
    counter[..., 2] = step & 0xFFFFFFFF
    counter[..., 3] = layer << 16 | (step >> 32 & 0xFFFF)
    words = philox(counter, int(key))
    u = np.stack([words & 0xFFFF, words >> 16], axis=-1).reshape(batch, blocks * 8)[:, :size]
    rate32 = np.float32(rate)
    scale = np.float32(1) / (np.float32(1) - rate32)
    factors = np.where(u < np.rint(np.float64(rate32) * 65536), np.float32(0), scale)
    return factors.reshape(batch, *shape)

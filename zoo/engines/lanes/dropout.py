"""The engine's dropout masks: in numpy, the reference that kernels are tested against, and for training by PyTorch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

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


LOW_32 = 0xFFFFFFFF
BLOCK = 8  # elements share a counter: each has 16 of its 128 random bits
DRAWN_AT_ONCE = {"cpu": 2**15, "other": 2**20}
"""Counters, by device: what fits a cache, or keeps a GPU busy. Small networks draw the masks of many steps at once."""


@dataclass(frozen=True)
class DropoutLayer:
    """What a dropout layer's masks depend on: its number in the network, the shape of one sample's input, its rate."""

    number: int
    shape: tuple[int, ...]
    rate: float

    @property
    def blocks(self) -> int:
        return -(-prod(self.shape) // BLOCK)

    @property
    def threshold(self) -> int:
        """An element is dropped when its 16 bits are below this."""
        return int(np.rint(np.float64(np.float32(self.rate)) * 65536))

    @property
    def scale_bits(self) -> int:
        """The factor of an element that is kept, 1 / (1 - rate) in float32, as its 32 bits."""
        kept = np.float32(1) / (np.float32(1) - np.float32(self.rate)) if self.threshold < 65536 else np.float32(0)
        return int(kept.view(np.uint32))


def philox_words(counter: Sequence[Tensor], key: int, rounds: int = 10) -> list[Tensor]:
    """`philox` in PyTorch: four words (int64, below 2^32) from a counter's four, which broadcast against each other.

    The upper halves of c1 and c3 may hold anything on the way: they are only xor-ed, and cut off afterwards.
    """
    c0, c1, c2, c3 = counter
    m0, m1 = (int(multiplier) for multiplier in MULTIPLIERS)
    for r in range(rounds):
        k0, k1 = (key + r * INCREMENTS[0]) & LOW_32, ((key >> 32) + r * INCREMENTS[1]) & LOW_32
        p0, p1 = c0 * m0, c2 * m1
        c0, c1 = ((p1 >> 32) ^ (c1 ^ k0)) & LOW_32, p1
        c2, c3 = ((p0 >> 32) ^ (c3 ^ k1)) & LOW_32, p0
    return [c0, c1 & LOW_32, c2, c3 & LOW_32]


def torch_masks(
    key: int, steps: Tensor, layers: Sequence[DropoutLayer], batch: int, device: torch.device
) -> list[Tensor]:
    """`dropout_mask` in PyTorch, of several steps [s] and layers: for each layer float32 [s, batch, *its shape]."""

    def of_each(value: Callable[[DropoutLayer], int], times: int) -> Tensor:
        repeats = torch.tensor([layer.blocks * times for layer in layers])
        return torch.tensor([value(layer) for layer in layers]).repeat_interleave(repeats).to(device)

    block = torch.cat([torch.arange(layer.blocks) for layer in layers]).to(device)
    sample = torch.arange(batch, device=device)[:, None]
    step = steps.to(device)[:, None, None]
    last = of_each(lambda layer: layer.number << 16, 1) | (step >> 32 & 0xFFFF)
    words = torch.stack(philox_words([block, sample, step & LOW_32, last], key), dim=-1).flatten(-2)
    # A word has two elements' 16 bits. They are spread to its 32-bit halves, where bit 16 of 65536 + bits - threshold
    # tells whether the element is kept; times the scale's bits that is the element's factor, as a float's bits.
    both = 1 + (1 << 32)
    spread = (words | words << 16) & 0xFFFF * both
    kept = (spread + of_each(lambda layer: (65536 - layer.threshold) * both, 4)) >> 16 & both
    factors = (kept * of_each(lambda layer: layer.scale_bits, 4)).view(torch.float32)
    parts = factors.split([layer.blocks * BLOCK for layer in layers], dim=-1)
    return [
        part[..., : prod(layer.shape)].unflatten(-1, layer.shape) for layer, part in zip(layers, parts, strict=True)
    ]


@dataclass(frozen=True)
class Drawn:
    """Masks of the steps from `start` on: of each layer, by its number, [steps, batch, *its shape]."""

    start: int
    layers: dict[int, DropoutLayer]
    masks: dict[int, Tensor]

    def find(self, step: int, layer: DropoutLayer, like: Tensor) -> Tensor | None:
        """The mask of a layer at a step, for the batch `like`; None if it wasn't drawn."""
        if self.layers.get(layer.number) != layer:
            return None
        masks = self.masks[layer.number]
        if not 0 <= step - self.start < len(masks) or len(like) > masks.shape[1] or like.device != masks.device:
            return None
        return masks[step - self.start, : len(like)]


class CountedDropout:
    """Dropout for training by PyTorch, with the engine's masks: functions of a key, a step and where an element is.

    Within `with counted.step(number):` every module of the model that is an `nn.Dropout` (and no subclass of it) draws
    them; the model itself is left as it was, its state dict and copies too. Its layers' numbers are their order in
    `model.modules()`; a layer that is applied again in the same step goes on counting after the last one.
    """

    def __init__(self, model: nn.Module, key: int):
        """`key`: the model's, below 2^64."""
        self.key = key
        self.modules = [module for module in model.modules() if type(module) is nn.Dropout]
        self._forwards = [partial(self._forward, index) for index in range(len(self.modules))]
        self._step = 0
        self._calls = [0] * len(self.modules)
        self._met: dict[int, DropoutLayer] = {}
        self._drawn = Drawn(0, {}, {})

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """`number`: how many optimizer steps were made before, in all of the training."""
        self._step, self._calls = number, [0] * len(self.modules)
        for module, forward in zip(self.modules, self._forwards, strict=True):
            module.__dict__["forward"] = forward
        try:
            yield
        finally:
            for module in self.modules:
                del module.__dict__["forward"]

    def _forward(self, index: int, x: Tensor) -> Tensor:
        """What the module does to its input [batch, ...]."""
        module = self.modules[index]
        if not module.training or module.p == 0:
            return x
        number = index + len(self.modules) * self._calls[index]
        self._calls[index] += 1
        mask = self._mask(DropoutLayer(number, tuple(x.shape[1:]), module.p), x).to(x.dtype)
        return x.mul_(mask) if module.inplace else x * mask

    def _mask(self, layer: DropoutLayer, x: Tensor) -> Tensor:
        mask = self._drawn.find(self._step, layer, x)
        if mask is not None:
            return mask
        if self._met.get(layer.number) != layer:  # a layer met for the first time is drawn alone
            self._met[layer.number] = layer
            return torch_masks(self.key, torch.tensor([self._step]), [layer], len(x), x.device)[0][0]
        self._draw(x)
        return self._drawn.masks[layer.number][0]

    def _draw(self, x: Tensor) -> None:
        """The masks of all layers met, from this step on, for batches like x."""
        layers = list(self._met.values())
        most = DRAWN_AT_ONCE["cpu" if x.device.type == "cpu" else "other"]
        count = max(1, most // (len(x) * sum(layer.blocks for layer in layers)))
        steps = torch.arange(self._step, self._step + count)
        masks = torch_masks(self.key, steps, layers, len(x), x.device)
        self._drawn = Drawn(self._step, dict(self._met), dict(zip(self._met, masks, strict=True)))

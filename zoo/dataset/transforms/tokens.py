"""Weights as a sequence of tokens, a token for each output channel, as SANE has them (Schürholt et al. 2024)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.dataset.transforms.blocks import Block, blocks, require_length
from zoo.errors import ZooError
from zoo.format.architecture import Architecture


class Tokens(NamedTuple):
    tokens: Tensor  # float32 [..., n, width]: a channel's weights, then its bias, then zeros
    mask: Tensor  # bool [..., n, width]: where there are weights
    positions: Tensor  # int16 [..., n, 3]: number of the token, its layer, its channel in it; int32 if one is > 32767


class Tokenise:
    """Weights [..., parameters] to `Tokens`.

    Tokens are ordered as the tensors are, a layer's weight and bias being one of its layers; the running means and the
    running variances of a batch norm are layers of their own. CNN-s has 48 tokens, 201 wide.
    """

    batched = True

    def __init__(self, architecture: Architecture, width: int | None = None, batch_norm: bool = True):
        """`width`: of tokens, None for as wide as the widest channel; a channel that is wider becomes several tokens at
        the same layer and channel. Without `batch_norm`, batch norms have no tokens.
        """
        self.architecture = architecture
        taken = [block for block in blocks(architecture) if batch_norm or "BatchNorm" not in block.layer]
        rows = [channel_places(block) for block in taken]
        if not rows:
            raise ZooError(f"{architecture.model} has no weights to make tokens of")
        self.width = max(row.shape[1] for row in rows) if width is None else width
        if type(self.width) is not int or self.width < 1:
            raise ZooError(
                f"width={width!r}: give the tokens a width of 1 or more, or None for that of the widest channel"
            )
        self.places = torch.cat([chunked(row, self.width) for row in rows])  # [n, width] in the vector; -1: padding
        self.mask = self.places >= 0
        self.positions = positions(rows, self.width)
        self.taken = self.places.remainder(architecture.length + 1).flatten()  # padding: from behind the vector
        self.back = self.mask.flatten().nonzero().squeeze(1)  # where tokens hold a weight ...
        self.held = self.places.flatten()[self.back]  # ... and its place in the vector

    def __repr__(self) -> str:
        return f"Tokenise({self.architecture.model}: {len(self.places)} tokens of {self.width})"

    def __call__(self, weights: Tensor) -> Tokens:
        require_length(weights, self.architecture)
        batch = weights.shape[:-1]
        rows = F.pad(weights, (0, 1)).flatten(0, -2) if len(batch) > 1 else F.pad(weights, (0, 1))  # of more axes than
        tokens = rows.index_select(-1, self.taken.to(weights.device)).view(*batch, *self.places.shape)  # two it is slow
        mask, positions = self.mask.to(weights.device), self.positions.to(weights.device)
        return Tokens(tokens, mask.expand(*batch, -1, -1), positions.expand(*batch, -1, -1))

    def inverse(self, tokens: Tensor | Tokens, rest: Tensor | None = None) -> Tensor:
        """The weights [..., parameters] of tokens [..., n, width]; padding is ignored.

        `rest`: weights [..., parameters] that have what no token holds: counters, and batch norms without `batch_norm`.
        Raises ZooError if it is missing.
        """
        tokens = tokens.tokens if isinstance(tokens, Tokens) else tokens
        if tokens.shape[-2:] != self.places.shape:
            raise ZooError(f"tokens [..., {tokens.shape[-2]}, {tokens.shape[-1]}] are none of {self}")
        shape = (*tokens.shape[:-2], self.architecture.length)
        if rest is None:
            if len(self.held) < self.architecture.length:
                raise ZooError(f"{self} holds no {self.left_out()}: give `rest`, weights that have them")
            rest = tokens.new_empty(shape)
        require_length(rest, self.architecture)
        held, back = self.held.to(tokens.device), self.back.to(tokens.device)
        return rest.expand(shape).index_copy(-1, held, tokens.flatten(-2).index_select(-1, back))

    def left_out(self) -> str:
        """The first tensor that no token holds, and how many more there are."""
        held = set(self.held.tolist())
        pairs = zip(self.architecture.variants[0], self.architecture.tensors, strict=True)
        out = [key for key, entry in pairs if entry.length and entry.start not in held]
        return out[0] + (f" and {len(out) - 1} other tensors" if len(out) > 1 else "")


def channel_places(block: Block) -> Tensor:
    """Where in the vector the numbers of each channel lie: [channels, weights and bias]."""
    parts = [entry for entry in (block.tensor, block.bias) if entry]
    places = [torch.arange(entry.start, entry.start + entry.length).view(block.channels, -1) for entry in parts]
    return torch.cat(places, dim=1)


def chunked(rows: Tensor, width: int) -> Tensor:
    """[channels, m] to [channels * ceil(m / width), width], padded with -1."""
    return F.pad(rows, (0, -rows.shape[1] % width), value=-1).reshape(-1, width)


def positions(rows: list[Tensor], width: int) -> Tensor:
    found = [
        (layer, channel)
        for layer, row in enumerate(rows)
        for channel in range(len(row))
        for _ in range(-(-row.shape[1] // width))
    ]
    numbered = torch.tensor([(number, *place) for number, place in enumerate(found)])
    return numbered.to(torch.int16 if numbered.max() < 2**15 else torch.int32)

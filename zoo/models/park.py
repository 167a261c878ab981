"""The convolutional networks of the CNN Wild Park (Kofinas et al. 2024): of varying depth, width and wiring."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": F.leaky_relu,
    "none": lambda x: x,
}

Value = TypeVar("Value")


class CNNPark(nn.Module):
    """Images [batch, channels[0], height, width] to logits [batch, classes].

    Each layer is a convolution to `channels[i + 1]`, to which the output of the layer `residual[i]` is added (of the
    channels that both have; -1 for none), and an activation. A linear layer takes the mean of each channel. One value
    is that of every layer; without `padding`, a layer's output has its input's size, where the stride is 1.
    """

    def __init__(
        self,
        channels: Sequence[int],
        kernel_size: Sequence[int] | int,
        activation: Sequence[str] | str = "relu",
        residual: Sequence[int] | int = -1,
        stride: Sequence[int] | int | None = 1,
        padding: Sequence[int] | int | None = None,
        classes: int = 10,
    ):
        super().__init__()
        layers = len(channels) - 1
        kernel_size, activation = each(kernel_size, layers), each(activation, layers)
        residual, stride = each(residual, layers), each(stride or 1, layers)
        padding = [size // 2 for size in kernel_size] if padding is None else each(padding, layers)
        counts = {len(values) for values in (kernel_size, activation, residual, stride, padding)}
        if counts != {layers}:
            raise ValueError("each layer needs its channels, kernel size, stride, padding, activation and residual")
        if unknown := set(activation) - set(ACTIVATIONS):
            raise ValueError(f"unknown activation {unknown.pop()!r}: choose from {', '.join(ACTIVATIONS)}")
        if any(not -1 <= source < layer for layer, source in enumerate(residual)):
            raise ValueError(f"the residuals {residual} are not of layers before")
        self.activation, self.residual = activation, residual
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[i], channels[i + 1], kernel_size[i], stride[i], padding[i]) for i in range(layers)
        )
        self.fc = nn.Linear(channels[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for layer, activation, source in zip(self.layers, self.activation, self.residual, strict=True):
            x = layer(x)
            if source >= 0:
                shared = min(x.shape[1], outputs[source].shape[1])
                x = torch.cat([x[:, :shared] + outputs[source][:, :shared], x[:, shared:]], 1)
            x = ACTIVATIONS[activation](x)
            outputs.append(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def each(value: Sequence[Value] | Value, layers: int) -> list[Value]:
    """A value for each layer, where all have the same one or each its own."""
    return list(value) if isinstance(value, list | tuple) else [value] * layers  # type: ignore[list-item]

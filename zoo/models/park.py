"""The convolutional networks of the CNN Wild Park (Kofinas et al. 2024): of varying depth, width and wiring."""

from collections.abc import Callable, Sequence

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


class CNNPark(nn.Module):
    """Images [batch, channels[0], height, width] to logits [batch, classes].

    Each layer is a convolution to `channels[i + 1]`, to which the output of the layer `residual[i]` is added (of the
    channels that both have; -1 for none), and an activation of its own. A linear layer takes the mean of each channel.
    """

    def __init__(
        self,
        channels: Sequence[int],
        kernel_size: Sequence[int],
        activation: Sequence[str],
        residual: Sequence[int],
        stride: Sequence[int] | None = None,
        padding: Sequence[int] | None = None,
        classes: int = 10,
    ):
        super().__init__()
        layers = len(kernel_size)
        stride, padding = stride or [1] * layers, padding or [size // 2 for size in kernel_size]
        if not layers == len(channels) - 1 == len(activation) == len(residual) == len(stride) == len(padding):
            raise ValueError("each layer needs its channels, kernel size, stride, padding, activation and residual")
        if unknown := set(activation) - set(ACTIVATIONS):
            raise ValueError(f"unknown activation {unknown.pop()!r}: choose from {', '.join(ACTIVATIONS)}")
        if any(not -1 <= source < layer for layer, source in enumerate(residual)):
            raise ValueError(f"the residuals {residual} are not of layers before")
        self.activation, self.residual = list(activation), list(residual)
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

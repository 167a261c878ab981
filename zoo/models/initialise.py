"""Initial weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def initialise(model: nn.Module, weight: Callable[[Tensor], Tensor], bias: float) -> None:
    """Draw every convolution's and linear layer's weight with `weight` (in place), set its bias to `bias`.

    Layers are visited in module order, as in the released generator: with its torch.manual_seed(seed) before the
    model is constructed, the initial weights are the released zoo's. Other layers (batch norm) keep PyTorch's own.
    """
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weight(layer.weight)
                if layer.bias is not None:
                    layer.bias.fill_(bias)

"""The two convolutional networks of the Model Zoos data set (Schürholt et al. 2022, Table 4)."""

from torch import Tensor, nn

ACTIVATIONS = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
}


def activation_layer(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}: choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


class CNN(nn.Module):
    """Layers applied one after the other: images [batch, channels, height, width] to logits [batch, classes]."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.module_list = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.module_list:
            x = layer(x)
        return x


class CNNSmall(CNN):
    """CNN-s, for 28x28 images: 2,464 parameters with one input channel, 2,864 with three (and ten classes).

    As in the released zoos, dropout layers are in the list only where dropout is above 0, so the numbers in the
    state-dict keys `module_list.{i}.weight` differ: i = 0, 3, 6, 9, 11 without dropout, 0, 4, 8, 11, 14 with it.
    """

    def __init__(self, channels_in: int, classes: int = 10, activation: str = "tanh", dropout: float = 0.0):
        def drop() -> list[nn.Module]:
            return [nn.Dropout(dropout)] if dropout > 0 else []

        super().__init__(
            *(nn.Conv2d(channels_in, 8, 5), nn.MaxPool2d(2), activation_layer(activation), *drop()),
            *(nn.Conv2d(8, 6, 5), nn.MaxPool2d(2), activation_layer(activation), *drop()),
            *(nn.Conv2d(6, 4, 2), activation_layer(activation), nn.Flatten()),
            *(nn.Linear(4 * 3 * 3, 20), activation_layer(activation), *drop()),
            nn.Linear(20, classes),
        )


class CNNLarge(CNN):
    """CNN-l, for 32x32 images: 10,853 parameters with three input channels (and ten classes).

    The dropout layers are always in the list: the keys are `module_list.{i}.weight`, i = 0, 4, 8, 13, 16.
    """

    def __init__(self, channels_in: int, classes: int = 10, activation: str = "tanh", dropout: float = 0.0):
        super().__init__(
            *(nn.Conv2d(channels_in, 16, 3), nn.MaxPool2d(2), activation_layer(activation), nn.Dropout(dropout)),
            *(nn.Conv2d(16, 32, 3), nn.MaxPool2d(2), activation_layer(activation), nn.Dropout(dropout)),
            *(nn.Conv2d(32, 15, 3), nn.MaxPool2d(2), activation_layer(activation), nn.Dropout(dropout)),
            *(nn.Flatten(), nn.Linear(15 * 2 * 2, 20), activation_layer(activation), nn.Dropout(dropout)),
            nn.Linear(20, classes),
        )


class CNNStrided(CNN):
    """The network of the Small CNN Zoo (Unterthiner et al. 2020): 4,970 parameters with one input channel, ten classes.

    Three convolutions of stride 2 with 16 channels each, and the mean of each channel; images of any size. The dropout
    layers are always in the list: the keys are `module_list.{i}.weight`, i = 0, 3, 6, 11.
    """

    def __init__(self, channels_in: int = 1, classes: int = 10, activation: str = "relu", dropout: float = 0.0):
        def block(channels: int) -> list[nn.Module]:
            return [nn.Conv2d(channels, 16, 3, 2, 1), activation_layer(activation), nn.Dropout(dropout)]

        super().__init__(
            *(*block(channels_in), *block(16), *block(16)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, classes)),
        )

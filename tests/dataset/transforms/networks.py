"""Networks whose units lie in all the ways that transforms know, and weights of theirs."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from zoo.format.architecture import Architecture
from zoo.models.cnn import CNNLarge, CNNSmall
from zoo.models.resnet import ResNet18


class Residual(nn.Module):
    """Linear layers around which their inputs are added: units on both axes of a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 6), nn.Linear(6, 6, bias=False)
        self.last = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x.view(x.size(0), -1)))
        x = x + torch.relu(self.second(x))
        return self.last(x)


def mlp() -> nn.Module:
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(36, 9), nn.BatchNorm1d(9), nn.ReLU()),
        *(nn.Linear(9, 7, bias=False), nn.LayerNorm(7), nn.GELU(), nn.Dropout(0.1), nn.Linear(7, 3)),
    )


def stack() -> nn.Module:
    """Of most kinds of layers."""
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.PReLU(4), nn.AvgPool2d(2)),
        *(nn.Conv2d(4, 8, 3, groups=4, padding=1), nn.SiLU(), nn.Conv2d(8, 6, 1), nn.GroupNorm(1, 6), nn.Tanh()),
        *(nn.ConvTranspose2d(6, 5, 2, stride=2), nn.InstanceNorm2d(5, affine=True), nn.AdaptiveMaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(20, 8), nn.Sigmoid(), nn.Linear(8, 3)),
    )


def narrow_resnet() -> nn.Module:
    """ResNet-18's blocks, an eighth as wide."""
    network = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=4)
    for module in list(network.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Conv2d):
                inputs = 3 if layer.in_channels == 3 else layer.in_channels // 8
                shape = (layer.kernel_size, layer.stride, layer.padding)
                setattr(module, name, nn.Conv2d(inputs, layer.out_channels // 8, *shape, bias=False))
            elif isinstance(layer, nn.BatchNorm2d):
                setattr(module, name, nn.BatchNorm2d(layer.num_features // 8))
    network.fc = nn.Linear(64, 4)
    return network


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {  # how to make it; the shape of an image
    "cnn_small": (partial(CNNSmall, 1), (1, 28, 28)),
    "cnn_small_dropout": (partial(CNNSmall, 3, activation="gelu", dropout=0.5), (3, 28, 28)),
    "cnn_large": (partial(CNNLarge, 3, dropout=0.2), (3, 32, 32)),
    "narrow_resnet": (narrow_resnet, (3, 32, 32)),
    "mlp": (mlp, (1, 6, 6)),
    "stack": (stack, (1, 8, 8)),
    "residual": (Residual, (3, 4)),
}
RESNET18 = (ResNet18, (3, 8, 8))


def made(name: str, seed: int = 0) -> nn.Module:
    return randomised(NETWORKS[name][0], seed)


def randomised(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """In evaluation mode, with random numbers in all its tensors, statistics of batch norms included."""
    torch.manual_seed(seed)
    network = make().eval()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


def vector(network: nn.Module) -> Tensor:
    return Architecture.of(network).flatten(network.state_dict(), 0)


@torch.no_grad()
def outputs(network: nn.Module, weights: Tensor, images: Tensor) -> Tensor:
    """What a network with these weights makes of images."""
    network.load_state_dict(Architecture.of(network).unflatten(weights, 0))
    return network(images)

"""ResNet-18 for small images, as in the Model Zoos data set (Schürholt et al. 2022)."""

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


class ResNet18(ResNet):
    """torchvision's ResNet-18 with a 3x3 stride-1 first convolution and no first max pool; any image size.

    Images [batch, channels_in, height, width] to logits [batch, classes].
    """

    def __init__(self, channels_in: int = 3, classes: int = 10):
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=classes)
        self.conv1 = nn.Conv2d(channels_in, 64, kernel_size=3, padding=1, bias=False)
        self.maxpool = nn.Identity()

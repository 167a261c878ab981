"""Random changes to the training images, each image of a batch by itself."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def augment(images: Tensor, black: Tensor, padding: int = 0, flip: bool = False, degrees: float = 0.0) -> Tensor:
    """Randomly crop, mirror and rotate a batch [batch, channels, height, width]; draws from torch's generator.

    `black` [channels] is the normalised value of a black pixel, which fills what comes from outside the image.
    `padding`: pixels added on every side before a random crop of the old size. `flip`: mirror left-right with
    probability 1/2. `degrees`: rotate by an angle uniform in [-degrees, degrees], nearest pixel.
    """
    # Moved to where black is zero, every kind of padding can pad with zeros.
    images = images - black.view(-1, 1, 1)
    if padding:
        images = random_crop(images, padding)
    if flip:
        mirrored = torch.rand(len(images), device=images.device) < 0.5
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    if degrees:
        images = random_rotation(images, degrees)
    return images + black.view(-1, 1, 1)


def random_crop(images: Tensor, padding: int) -> Tensor:
    batch, channels, height, width = images.shape
    padded = F.pad(images, [padding] * 4)
    top, left = torch.randint(2 * padding + 1, (2, batch, 1), device=images.device)
    rows = (top + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (left + torch.arange(width, device=images.device))[:, None, None, :]
    sample = torch.arange(batch, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return padded[sample, channel, rows, columns]


def random_rotation(images: Tensor, degrees: float) -> Tensor:
    batch, _, height, width = images.shape
    angle = torch.deg2rad(torch.empty(batch, device=images.device).uniform_(-degrees, degrees))
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # affine_grid works in coordinates of -1..1 on both axes, whatever the aspect ratio
    theta = torch.stack(
        [torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)], 1
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)

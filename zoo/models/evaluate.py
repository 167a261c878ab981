"""A model's loss and accuracy on images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.data.images import Split

EVALUATION_BATCH = 500


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split) -> tuple[float | None, float | None]:
    """Mean cross-entropy and share of right predictions (0..1) in evaluation mode; (None, None) without images."""
    if not len(split):
        return None, None
    model.eval()
    loss, correct = torch.zeros((), dtype=torch.float64), 0
    for images, labels in zip(split.images.split(EVALUATION_BATCH), split.labels.split(EVALUATION_BATCH), strict=True):
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").double().cpu()
        correct += int((logits.argmax(1) == labels).sum())
    return float(loss) / len(split), correct / len(split)


@torch.inference_mode()
def predictions(model: nn.Module, images: Tensor) -> Tensor:
    """The classes [images] that the model predicts, in evaluation mode."""
    model.eval()
    return torch.cat([model(part).argmax(1) for part in images.split(EVALUATION_BATCH)])

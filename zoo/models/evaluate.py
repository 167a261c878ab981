"""A model's loss and accuracy on images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.data.images import Split

EVALUATION_BATCH = 500  # images at once, at most on a CPU
# What the largest output of a layer may take: the caches of a CPU, a small part of an accelerator's memory.
CPU_BYTES, ACCELERATOR_BYTES = 10 * 2**20, 256 * 2**20


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, batch: int = EVALUATION_BATCH) -> tuple[float | None, float | None]:
    """Mean cross-entropy and share of right predictions (0..1) in evaluation mode; (None, None) without images.

    `batch`: images at once.
    """
    if not len(split):
        return None, None
    model.eval()
    loss, correct = torch.zeros((), dtype=torch.float64), 0
    for images, labels in zip(split.images.split(batch), split.labels.split(batch), strict=True):
        logits = model(images)
        loss += F.cross_entropy(logits, labels, reduction="sum").double().cpu()
        correct += int((logits.argmax(1) == labels).sum())
    return float(loss) / len(split), correct / len(split)


@torch.inference_mode()
def evaluation_batch(model: nn.Module, images: Tensor) -> int:
    """How many such images are evaluated fastest at once (benchmarks/torch_path.py), by the outputs of the layers."""
    sizes: list[int] = []

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.numel() * output.element_size())

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    model.eval()(images[:1])
    for hook in hooks:
        hook.remove()
    if images.device.type == "cpu":
        return max(1, min(EVALUATION_BATCH, CPU_BYTES // max(sizes)))
    return max(1, ACCELERATOR_BYTES // max(sizes))


@torch.inference_mode()
def predictions(model: nn.Module, images: Tensor) -> Tensor:
    """The classes [images] that the model predicts, in evaluation mode."""
    model.eval()
    return torch.cat([model(part).argmax(1) for part in images.split(EVALUATION_BATCH)])

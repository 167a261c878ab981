"""Training one model: the LightningModule."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.augment import augment
from zoo.data.images import Images, Split
from zoo.random import data_order, derive

EVALUATION_BATCH = 500


class Classifier(pl.LightningModule):
    """A classifier under training, and all it needs to train: images, optimizer, schedule, batch size, seed.

    One `training_step` is a whole epoch, whose "batch" is the order in which it visits the images: at these
    model sizes, what Lightning does around a step costs as much as the step itself.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Images,
        optimizer: Callable[..., torch.optim.Optimizer],
        schedule: Callable[..., torch.optim.lr_scheduler.LRScheduler] | None,
        batch_size: int,
        seed: int,
        max_epochs: int,
        augmentation: dict[str, Any],
        first_epoch: int = 0,
    ):
        """`optimizer` takes the parameters; `schedule` takes the optimizer and `total_steps`; `augmentation` holds
        the arguments of `augment`, none for images as they are. `first_epoch` epochs were trained before."""
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.images = images
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = first_epoch
        self.augmentation = augmentation
        self.optimizer = optimizer(model.parameters())
        steps = -(-len(images.trainset) // batch_size) * max_epochs
        self.schedule = schedule(self.optimizer, total_steps=steps) if schedule else None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer

    def on_fit_start(self) -> None:
        splits = {
            name: Split(split.images.to(self.device), split.labels.to(self.device))
            for name, split in vars(self.images).items()
            if isinstance(split, Split)
        }
        self.images = replace(self.images, **splits)

    def train_dataloader(self) -> "EpochOrder":
        return EpochOrder(self)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, order: Tensor, _: int) -> None:
        """Train one epoch: `order` [images] is cut into batches, the last of which may be smaller."""
        # dropout and augmentation draw from the global generators
        torch.manual_seed(derive(self.seed, "train", self.epoch + 1))
        model, optimizer, schedule = self.model.train(), self.optimizer, self.schedule
        images, labels = self.images.trainset.images, self.images.trainset.labels
        black = -torch.tensor(self.images.mean, device=self.device) / torch.tensor(self.images.std, device=self.device)
        for indices in order.split(self.batch_size):
            batch = images[indices]
            if self.augmentation:
                batch = augment(batch, black, **self.augmentation)
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels[indices]).backward()
            optimizer.step()
            if schedule:
                schedule.step()
        self.epoch += 1

    def training_state(self) -> dict[str, Any]:
        """What exact resumption needs beside the model's state; random numbers follow from seed and epoch alone."""
        schedule = self.schedule.state_dict() if self.schedule else None
        return {"optimizer": self.optimizer.state_dict(), "schedule": schedule}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])

    def evaluate(self) -> dict[str, float | None]:
        """Loss and accuracy of the present state on each split; None for a split without images."""
        metrics: dict[str, float | None] = {}
        for name in ("train", "val", "test"):
            loss, accuracy = evaluate(self.model, getattr(self.images, f"{name}set"))
            metrics |= {f"{name}_loss": loss, f"{name}_acc": accuracy}
        return metrics


class EpochOrder:
    """What Lightning takes for a data loader: one item an epoch, the order in which to visit the images."""

    def __init__(self, module: Classifier):
        self.module = module

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Tensor]:
        order = data_order(self.module.seed, self.module.epoch + 1, len(self.module.images.trainset))
        yield torch.from_numpy(order)


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

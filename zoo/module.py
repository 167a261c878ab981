"""Training one model, or several in lockstep: the LightningModules."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.augment import augment
from zoo.build import build
from zoo.data.images import Images, Split
from zoo.random import data_order, derive

EVALUATION_BATCH = 500

State = dict[str, Tensor]
Metrics = dict[str, float | None]


class Pack(pl.LightningModule):
    """Models trained in lockstep by one Trainer, each of which ends up as if it had been trained alone.

    One `training_step` is a whole epoch, whose "batch" [models, images] is the order in which each model visits the
    images: at these model sizes, what Lightning does around a step costs as much as the step itself.
    """

    def __init__(self, seeds: Sequence[int], images: Images, epoch: int):
        """`epoch`: how many epochs were trained before."""
        super().__init__()
        self.automatic_optimization = False
        self.seeds = seeds
        self.images = images
        self.epoch = epoch

    def on_fit_start(self) -> None:
        splits = {
            name: Split(split.images.to(self.device), split.labels.to(self.device))
            for name, split in vars(self.images).items()
            if isinstance(split, Split)
        }
        self.images = replace(self.images, **splits)

    def train_dataloader(self) -> "EpochOrders":
        return EpochOrders(self)

    def training_step(self, orders: Tensor, _: int) -> None:
        self.train_epoch(orders)
        self.epoch += 1

    @abstractmethod
    def train_epoch(self, orders: Tensor) -> None:
        """Train one epoch: `orders` [models, images] is cut into batches, the last of which may be smaller."""

    @abstractmethod
    def states(self) -> list[State]:
        """Each model's state dict."""

    @abstractmethod
    def training_states(self) -> list[dict[str, Any]]:
        """What each model's exact resumption needs beside its state: random numbers follow from seed and epoch."""

    @abstractmethod
    def load(self, states: Sequence[State], training_states: Sequence[Mapping[str, Any]]) -> None:
        """Go back to where these were taken."""

    @abstractmethod
    def evaluate(self) -> list[Metrics]:
        """Each model's loss and accuracy on each split in its present state; None on a split without images."""


class EpochOrders:
    """What Lightning takes for a data loader: one item an epoch, the orders in which models visit the images."""

    def __init__(self, pack: Pack):
        self.pack = pack

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Tensor]:
        length, epoch = len(self.pack.images.trainset), self.pack.epoch + 1
        yield torch.from_numpy(np.stack([data_order(seed, epoch, length) for seed in self.pack.seeds]))


class TorchPack(Pack):
    """A pack of one, trained by PyTorch: any architecture, optimizer, schedule and accelerator."""

    def __init__(self, config: Mapping[str, Any], model: nn.Module, images: Images, epoch: int = 0):
        """`config`: of the node, plain. `model`: at its initialisation."""
        super().__init__([config["seed"]], images, epoch)
        self.model = model
        self.batch_size = config["batch_size"]
        self.augmentation = build(config["augmentation"])
        self.optimizer = build(config["optim"])(model.parameters())
        self.schedule = None
        if "_target_" in config["schedule"]:
            steps = -(-len(images.trainset) // self.batch_size) * config["trainer"]["max_epochs"]
            self.schedule = build(config["schedule"])(self.optimizer, total_steps=steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer

    def train_epoch(self, orders: Tensor) -> None:
        # dropout and augmentation draw from the global generators
        torch.manual_seed(derive(self.seeds[0], "train", self.epoch + 1))
        model, optimizer, schedule = self.model.train(), self.optimizer, self.schedule
        images, labels = self.images.trainset.images, self.images.trainset.labels
        black = -torch.tensor(self.images.mean, device=self.device) / torch.tensor(self.images.std, device=self.device)
        for indices in orders[0].split(self.batch_size):
            batch = images[indices]
            if self.augmentation:
                batch = augment(batch, black, **self.augmentation)
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels[indices]).backward()
            optimizer.step()
            if schedule:
                schedule.step()

    def states(self) -> list[State]:
        return [{key: value.detach().cpu() for key, value in self.model.state_dict().items()}]

    def training_states(self) -> list[dict[str, Any]]:
        schedule = self.schedule.state_dict() if self.schedule else None
        return [{"optimizer": self.optimizer.state_dict(), "schedule": schedule}]

    def load(self, states: Sequence[State], training_states: Sequence[Mapping[str, Any]]) -> None:
        self.model.load_state_dict(states[0])
        self.optimizer.load_state_dict(training_states[0]["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(training_states[0]["schedule"])

    def evaluate(self) -> list[Metrics]:
        metrics: Metrics = {}
        for name in ("train", "val", "test"):
            loss, accuracy = evaluate(self.model, getattr(self.images, f"{name}set"))
            metrics |= {f"{name}_loss": loss, f"{name}_acc": accuracy}
        return [metrics]


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

"""A pack of one, trained by PyTorch."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

from zoo.data.augment import augment
from zoo.data.images import Images
from zoo.engines.lanes import CountedDropout
from zoo.models.evaluate import evaluate, evaluation_batch
from zoo.node.build import build, build_schedule
from zoo.node.node import Node
from zoo.random import derive
from zoo.run.pack import Metrics, Pack, State
from zoo.run.trainer_options import PRECISIONS


class TorchPack(Pack):
    """A pack of one, trained by PyTorch: any architecture, optimizer, schedule, precision and accelerator."""

    def __init__(self, node: Node, model: nn.Module, images: Images, epoch: int = 0):
        """`model`: at its initialisation."""
        config = node.config
        super().__init__([node], images, epoch)
        self.model = model
        # the masks that the CPU engine draws: whoever trains a model, it is the same member of the population
        self.dropout = CountedDropout(model, derive(node.seed, "dropout", 0))
        self.augmentation = build(config["augmentation"])
        self.optimizer: torch.optim.Optimizer = build(config["optim"])(model.parameters())
        self.schedule = build_schedule(config["schedule"], self.optimizer)
        self.interval = config["schedule"].get("interval", "step")
        self.options = config["trainer"]
        self.precision = PRECISIONS.get(self.options.get("precision"))
        self.scaler = self.make_scaler()

    def make_scaler(self) -> torch.amp.GradScaler:
        """Scales the loss for float16, whose range is small; otherwise it does nothing."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == torch.float16)

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[LRScheduler]]:
        """For callbacks to look at: `train_epoch` steps them."""
        return [self.optimizer], [self.schedule] if self.schedule else []

    def on_fit_start(self) -> None:
        self.scaler = self.make_scaler()
        super().on_fit_start()

    def train_epoch(self, orders: Tensor) -> list[Metrics]:
        # augmentation, and layers that draw otherwise than nn.Dropout, draw from the global generators
        torch.manual_seed(derive(self.seeds[0], "train", self.epochs_before[0] + self.epoch + 1))
        self.model.train()
        images, labels = self.images.trainset.images, self.images.trainset.labels
        black = -torch.tensor(self.images.mean, device=self.device) / torch.tensor(self.images.std, device=self.device)
        losses, correct = [], []  # of the batches, on their device: to ask for a number would wait for it
        for number, indices in enumerate(orders[0].split(self.batch_size), start=self.steps):
            batch = images[indices]
            if self.augmentation:
                batch = augment(batch, black, **self.augmentation)
            loss, logits = self.step(number, batch, labels[indices])
            losses.append(loss * len(indices))
            correct.append((logits.argmax(1) == labels[indices]).sum())
            if self.schedule and self.interval == "step":
                self.schedule.step()
        if self.schedule and self.interval == "epoch":
            self.schedule.step()
        samples = orders.shape[1]
        loss = torch.stack(losses).cpu().double().sum() / samples
        return [{"train_loss": float(loss), "train_acc": int(torch.stack(correct).sum()) / samples}]

    def step(self, number: int, batch: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """An optimizer step on one batch; `number` counts them over the whole training, from 0.

        Returns the mean loss and the logits [batch, classes] before it.
        """
        self.optimizer.zero_grad()
        with (
            self.dropout.step(number),
            torch.autocast(self.device.type, self.precision, enabled=self.precision is not None),
        ):
            logits = self.model(batch)
            loss = F.cross_entropy(logits, labels)
        self.scaler.scale(loss).backward()
        self.clip_gradients_of_model()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), logits.detach()

    def clip_gradients_of_model(self) -> None:
        limit = self.options.get("gradient_clip_val")
        if limit is None:
            return
        self.scaler.unscale_(self.optimizer)
        if self.options.get("gradient_clip_algorithm") == "value":
            nn.utils.clip_grad_value_(self.model.parameters(), limit)
        else:
            nn.utils.clip_grad_norm_(self.model.parameters(), limit)

    def states(self) -> list[State]:
        return [{key: copied(value.detach()) for key, value in self.model.state_dict().items()}]

    def training_states(self) -> list[dict[str, Any]]:
        schedule = self.schedule.state_dict() if self.schedule else None
        scaler = {"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}
        return [copied({"optimizer": self.optimizer.state_dict(), "schedule": schedule, **scaler})]

    def load(self, states: Sequence[State], training_states: Sequence[Mapping[str, Any]]) -> None:
        self.model.load_state_dict(states[0])
        self.optimizer.load_state_dict(training_states[0]["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(training_states[0]["schedule"])
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(training_states[0]["scaler"])

    def evaluate(self, splits: Sequence[str]) -> list[Metrics]:
        metrics: Metrics = {}
        batch = evaluation_batch(self.model, self.images.trainset.images)
        for name in splits:
            loss, accuracy = evaluate(self.model, getattr(self.images, f"{name}set"), batch)
            metrics |= {f"{name}_loss": loss, f"{name}_acc": accuracy}
        return [metrics]


def copied(value: Any) -> Any:
    """A copy of nested plain values, with tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.to("cpu", copy=True)
    if type(value) in (list, tuple):
        return type(value)(map(copied, value))
    return {key: copied(item) for key, item in value.items()} if type(value) is dict else copy.deepcopy(value)

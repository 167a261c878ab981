"""A pack of one, trained by PyTorch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.data.augment import augment
from zoo.data.images import Images
from zoo.engines.lanes import CountedDropout
from zoo.models.evaluate import evaluate
from zoo.node.build import build
from zoo.node.node import Node
from zoo.random import derive
from zoo.run.pack import Metrics, Pack, State


class TorchPack(Pack):
    """A pack of one, trained by PyTorch: any architecture, optimizer, schedule and accelerator."""

    def __init__(self, node: Node, model: nn.Module, images: Images, epoch: int = 0):
        """`model`: at its initialisation."""
        config = node.config
        super().__init__([node.seed], images, epoch)
        self.model = model
        self.batch_size = config["batch_size"]
        # the masks that the CPU engine draws: whoever trains a model, it is the same member of the population
        self.dropout = CountedDropout(model, derive(node.seed, "dropout", 0))
        self.augmentation = build(config["augmentation"])
        self.optimizer = build(config["optim"])(model.parameters())
        self.schedule = None
        if "_target_" in config["schedule"]:
            steps = -(-len(images.trainset) // self.batch_size) * node.max_epochs
            self.schedule = build(config["schedule"])(self.optimizer, total_steps=steps)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer

    def train_epoch(self, orders: Tensor) -> None:
        # augmentation, and layers that draw otherwise than nn.Dropout, draw from the global generators
        torch.manual_seed(derive(self.seeds[0], "train", self.epoch + 1))
        model, optimizer, schedule = self.model.train(), self.optimizer, self.schedule
        images, labels = self.images.trainset.images, self.images.trainset.labels
        black = -torch.tensor(self.images.mean, device=self.device) / torch.tensor(self.images.std, device=self.device)
        batches = orders[0].split(self.batch_size)
        for step, indices in enumerate(batches, start=self.epoch * len(batches)):
            batch = images[indices]
            if self.augmentation:
                batch = augment(batch, black, **self.augmentation)
            optimizer.zero_grad()
            with self.dropout.step(step):
                logits = model(batch)
            F.cross_entropy(logits, labels[indices]).backward()
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

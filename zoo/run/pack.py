"""Models trained in lockstep: the LightningModule of every engine."""

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.images import Images, Split
from zoo.format.train_metrics import RUNNING
from zoo.node.from_zoo import epochs_before, steps_before
from zoo.node.node import Node
from zoo.node.steps import batches_per_epoch
from zoo.random import data_order
from zoo.run.lightning import pl

State = dict[str, Tensor]
Metrics = dict[str, float | None]

SPLITS = ("train", "val", "test")


class Pack(pl.LightningModule):
    """Models trained in lockstep by one Trainer, each of which ends up as if it had been trained alone.

    One `training_step` is a whole epoch, whose "batch" [models, images] is the order in which each model visits the
    images: at these model sizes, what Lightning does around a step costs as much as the step itself.
    """

    def __init__(self, nodes: Sequence[Node], images: Images, epoch: int):
        """`epoch`: how many epochs were trained before."""
        super().__init__()
        self.automatic_optimization = False
        config = nodes[0].config
        self.names = [node.name for node in nodes]
        self.seeds = [node.seed for node in nodes]
        self.images = self.prepared = images
        self.epoch = epoch
        # of training that goes on from a zoo's: random streams and steps count on from there
        self.epochs_before = [epochs_before(node.config) for node in nodes]
        self.steps_before = steps_before(config)
        self.batch_size: int = config["batch_size"]
        limit = config["trainer"].get("limit_train_batches")
        self.batches = batches_per_epoch(len(images.trainset), self.batch_size, limit)
        self.is_running = nodes[0].train_metrics == RUNNING
        self.running: list[Metrics] | None = None  # of the epoch just trained
        self.step_seconds = 0.0  # of its steps
        self.saved: tuple[Sequence[State], Sequence[Mapping[str, Any]]] | None = None

    def load_on_start(self, states: Sequence[State], training_states: Sequence[Mapping[str, Any]]) -> None:
        """`load`, when the models are on the device that trains them: optimizers follow their parameters there."""
        self.saved = states, training_states

    def on_fit_start(self) -> None:
        trainset, valset, testset = (
            Split(split.images.to(self.device), split.labels.to(self.device))
            for split in (self.images.trainset, self.images.valset, self.images.testset)
        )
        self.images = replace(self.images, trainset=trainset, valset=valset, testset=testset)
        if self.saved:
            self.load(*self.saved)
            self.saved = None

    def train_dataloader(self) -> "EpochOrders":
        return EpochOrders(self)

    @property
    def steps(self) -> int:
        """Optimizer steps made up to the present epoch."""
        return self.steps_before + self.epoch * self.batches

    def training_step(self, orders: Tensor, _: int) -> None:
        began = time.perf_counter()
        self.running = self.train_epoch(orders)
        self.step_seconds = time.perf_counter() - began
        self.epoch += 1

    def measure(self) -> list[Metrics]:
        """Each model's loss and accuracy on each split, as they are recorded.

        Of its present state; with running metrics, those on the training images are of the epoch's own steps, dropout
        and augmentation included, unless none was trained.
        """
        if not self.is_running or self.running is None:
            return self.evaluate(SPLITS)
        return [{**own, **found} for own, found in zip(self.running, self.evaluate(("val", "test")), strict=True)]

    def report(self, metrics: Mapping[int, Metrics]) -> None:
        """Show Lightning's callbacks and loggers the present epoch's metrics of some models, given by their index.

        A model alone has its metrics by their names (`test_acc`), those in a pack with the node's (`test_acc/NODE`).
        """
        others = self.trainer.callbacks[1:]  # type: ignore[attr-defined]  # the first is what records; not declared
        if not (others or self.trainer.loggers):  # nobody looks, and logging a pack's metrics takes 70 ms
            return
        values = {
            name if len(self.names) == 1 else f"{name}/{self.names[index]}": value
            for index, found in metrics.items()
            for name, value in found.items()
            if value is not None
        }
        if self.epoch:
            self.log_dict({**values, "step": float(self.epoch)}, batch_size=1)  # loggers count by `step`
        else:  # Lightning's own logging begins with the first step
            for logger in self.trainer.loggers:
                logger.log_metrics(values, step=0)

    @abstractmethod
    def train_epoch(self, orders: Tensor) -> list[Metrics]:
        """Train one epoch: `orders` [models, images] is cut into batches, the last of which may be smaller.

        Returns each model's `train_loss` and `train_acc` over the samples of these steps, each before its step.
        """

    @abstractmethod
    def states(self) -> list[State]:
        """Each model's state dict: copies, on the CPU, since they are written while training goes on."""

    @abstractmethod
    def training_states(self) -> list[dict[str, Any]]:
        """Copies of what each model's exact resumption needs beside its state: random numbers follow from the seed."""

    @abstractmethod
    def load(self, states: Sequence[State], training_states: Sequence[Mapping[str, Any]]) -> None:
        """Go on from the epoch at which `states` and `training_states` were saved."""

    @abstractmethod
    def evaluate(self, splits: Sequence[str]) -> list[Metrics]:
        """Each model's loss and accuracy on some of SPLITS in its present state; None on a split without images."""


class EpochOrders:
    """What Lightning takes for a data loader: one item an epoch, the orders in which models visit the images."""

    def __init__(self, pack: Pack):
        self.pack = pack

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Tensor]:
        pack = self.pack
        orders = np.stack(
            [
                data_order(seed, before + pack.epoch + 1, len(pack.images.trainset))
                for seed, before in zip(pack.seeds, pack.epochs_before, strict=True)
            ]
        )
        yield torch.from_numpy(orders[:, : pack.batches * pack.batch_size])

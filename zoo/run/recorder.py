"""What runs leave on disk at every epoch."""

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from zoo.disk import files, paths
from zoo.node.node import Node
from zoo.run.pack import Pack
from zoo.run.record import read_records


class Recorder(pl.Callback):
    """Before the first step and after every epoch: evaluate, write the checkpoints, then the records.

    A record (a line of result.json) comes after its checkpoint: an epoch that has one is complete, whatever happens
    later. And the optimizer states of the epoch before go only when all models of the pack have their records, so
    that there is always one epoch from which all can go on together.
    """

    def __init__(self, nodes: Sequence[Node]):
        """A node's released keys are repeated in every record, as the released zoos have it. A model with a non-finite
        weight never comes back: with `stop_diverged`, its record ends there, and training when all have diverged."""
        self.runs = [node.run for node in nodes]
        self.params = [node.released for node in nodes]
        self.stop_diverged = nodes[0].config["stop_diverged"]
        self.records: list[list[dict[str, Any]]] = []
        self.started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Pack) -> None:
        self.started = time.perf_counter()
        # a run can be an epoch ahead of others in its pack: that epoch is trained again, to the same state
        self.records = [read_records(run)[: pl_module.epoch + 1] for run in self.runs]
        if not all(self.records):
            self.records = [[] for _ in self.runs]
            self.save(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Pack) -> None:
        self.save(pl_module)
        trainer.should_stop = not self.active()

    def active(self) -> list[int]:
        """Which models of the pack are still recorded."""
        return [
            index
            for index, records in enumerate(self.records)
            if not (self.stop_diverged and records and records[-1]["diverged"])
        ]

    def save(self, pack: Pack) -> None:
        epoch, active = pack.epoch, self.active()
        states, training_states, metrics = pack.states(), pack.training_states(), pack.evaluate()
        seconds = (time.perf_counter() - self.started) / len(self.runs)
        for index in active:
            files.write_torch(paths.checkpoint(self.runs[index], epoch), states[index])
            files.write_torch(paths.optimizer(self.runs[index], epoch), training_states[index])
        for index in active:
            records = self.records[index]
            records.append(
                {
                    **{key: finite(value) for key, value in metrics[index].items()},
                    "training_iteration": epoch,
                    "diverged": not all(value.isfinite().all() for value in states[index].values()),
                    "time_this_iter_s": seconds,
                    "time_total_s": (records[-1]["time_total_s"] if records else 0.0) + seconds,
                    "config": self.params[index],
                }
            )
            lines = "".join(json.dumps(record) + "\n" for record in records)
            files.write_text(paths.result(self.runs[index]), lines)
        for index in active if epoch else ():
            paths.optimizer(self.runs[index], epoch - 1).unlink(missing_ok=True)
        self.started = time.perf_counter()


def finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: null stands for both."""
    return value if value is not None and math.isfinite(value) else None

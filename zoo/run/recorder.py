"""What runs leave on disk at every epoch."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl

from zoo.disk import files, paths
from zoo.node.node import Node
from zoo.run.environment import environment, note
from zoo.run.pack import Pack, State
from zoo.run.record import OPTIMIZER_DIGEST, STATE_DIGEST, Record, read_records
from zoo.run.resumption import keep_latest_optimizer, remove_optimizers


class Recorder(pl.Callback):
    """Before the first step and after every epoch: evaluate, write the checkpoints, then the records.

    A record (a line of result.json) comes after its checkpoint: an epoch that has one is complete, whatever happens
    later. It has the digests of the epoch's files, so that damage is seen. The optimizer states of the last two epochs
    are kept until the end, so that all models of the pack can go on from one epoch, also if the last one's files were
    torn by a power cut.
    """

    def __init__(self, nodes: Sequence[Node]):
        """A node's released keys are repeated in every record, as the released zoos have it. A model with a non-finite
        weight never comes back: with `stop_diverged`, its record ends there, and training when all have diverged."""
        self.runs = [node.run for node in nodes]
        self.params = [node.released for node in nodes]
        self.max_epochs = nodes[0].max_epochs
        self.stop_diverged = nodes[0].config["stop_diverged"]
        self.records: list[list[Record]] = []
        self.started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Pack) -> None:  # type: ignore[override] # of packs alone
        self.started = time.perf_counter()
        # a run can be an epoch ahead of others in its pack: that epoch is trained again, to the same state
        epoch, now = pl_module.epoch, environment(pl_module)
        self.records = [read_records(run)[: epoch + 1] for run in self.runs]
        begun = all(self.records)
        for run in self.runs:
            note(run, now, epoch + 1 if begun else 0)
            remove_optimizers(run, before=epoch - 1)
        if not begun:
            self.records = [[] for _ in self.runs]
            self.save(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Pack) -> None:  # type: ignore[override] # of packs alone
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
        states, training_states, metrics = pack.states(), pack.training_states(), pack.measure()
        seconds = (time.perf_counter() - self.started) / len(self.runs)
        digests = {i: self.write_states(i, epoch, states[i], training_states[i]) for i in active}
        for index in active:
            records = self.records[index]
            records.append(
                {
                    **{key: finite(value) for key, value in metrics[index].items()},
                    "training_iteration": epoch,
                    "diverged": not all(value.isfinite().all() for value in states[index].values()),
                    "time_this_iter_s": seconds,
                    "time_total_s": (records[-1]["time_total_s"] if records else 0.0) + seconds,
                    **digests[index],
                    "config": self.params[index],
                }
            )
            lines = "".join(json.dumps(record) + "\n" for record in records)
            files.write_text(paths.result(self.runs[index]), lines)
        for index in active:
            self.remove_older_optimizer(index, epoch)
        pack.report({index: metrics[index] for index in active})
        self.started = time.perf_counter()

    def write_states(self, index: int, epoch: int, state: State, training_state: Mapping[str, Any]) -> dict[str, str]:
        """Returns the digests, as the epoch's record has them."""
        run = self.runs[index]
        return {
            STATE_DIGEST: files.write_torch(paths.checkpoint(run, epoch), state),
            OPTIMIZER_DIGEST: files.write_torch(paths.optimizer(run, epoch), training_state),
        }

    def remove_older_optimizer(self, index: int, epoch: int) -> None:
        if epoch == self.max_epochs or index not in self.active():
            keep_latest_optimizer(self.runs[index])
        elif epoch > 1:
            paths.optimizer(self.runs[index], epoch - 2).unlink(missing_ok=True)


def finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: null stands for both."""
    return value if value is not None and math.isfinite(value) else None

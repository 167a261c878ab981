"""What runs leave on disk at every epoch."""

import math
import time
from collections.abc import Sequence
from typing import Any

from zoo.format.record import STEP_SECONDS, Record, read_records
from zoo.node.node import Node
from zoo.run.environment import environment, note
from zoo.run.lightning import pl
from zoo.run.pack import Metrics, Pack, State
from zoo.run.resumption import keep_records, remove_optimizers
from zoo.run.writer import Epoch, Writer


class Recorder(pl.Callback):
    """Before the first step and after every epoch: evaluate, and have the checkpoints and records written.

    That is done by the writer, while the next epoch is trained; it must be entered around the training.
    """

    def __init__(self, nodes: Sequence[Node], writer: Writer):
        """A node's released keys are repeated in every record, as the released zoos have it. A model with a non-finite
        weight never comes back: with `stop_diverged`, its record ends there, and training when all have diverged."""
        self.writer = writer
        self.runs = [node.run for node in nodes]
        self.params = [node.released for node in nodes]
        self.max_epochs = nodes[0].max_epochs
        self.stop_diverged = nodes[0].config["stop_diverged"]
        self.latest: list[Record | None] = [None] * len(nodes)  # each model's last record
        self.started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Pack) -> None:  # type: ignore[override] # of packs alone
        self.started = time.perf_counter()
        # a run can be an epoch ahead of others in its pack: that epoch is trained again, to the same state
        epoch = pl_module.epoch
        now = {**environment(pl_module), "images": pl_module.prepared.digest}
        records = [read_records(run)[: epoch + 1] for run in self.runs]
        begun = all(records)
        for run in self.runs:
            note(run, now, epoch + 1 if begun else 0)
            remove_optimizers(run, before=epoch - 1)
            keep_records(run, epoch + 1 if begun else 0)
        if begun:
            self.latest = [found[-1] for found in records]
        else:
            self.save(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Pack) -> None:  # type: ignore[override] # of packs alone
        self.save(pl_module)
        trainer.should_stop = not self.active()

    def active(self) -> list[int]:
        """Which models of the pack are still recorded."""
        return [
            index
            for index, record in enumerate(self.latest)
            if not (self.stop_diverged and record and record["diverged"])
        ]

    def save(self, pack: Pack) -> None:
        active = self.active()
        states, training_states, metrics = pack.states(), pack.training_states(), pack.measure()
        now, share = time.perf_counter(), 1 / len(self.runs)
        seconds = {"time_this_iter_s": (now - self.started) * share, STEP_SECONDS: pack.step_seconds * share}
        for index in active:
            self.latest[index] = self.record(index, pack.epoch, states[index], metrics[index], seconds)
        self.writer.write([self.epoch(index, states[index], training_states[index]) for index in active])
        pack.report({index: metrics[index] for index in active})
        self.started = time.perf_counter()

    def record(self, index: int, epoch: int, state: State, metrics: Metrics, seconds: Record) -> Record:
        before = self.latest[index]
        return {
            **{key: finite(value) for key, value in metrics.items()},
            "training_iteration": epoch,
            "diverged": not all(value.isfinite().all() for value in state.values()),
            **seconds,
            "time_total_s": (before["time_total_s"] if before else 0.0) + seconds["time_this_iter_s"],
        }

    def epoch(self, index: int, state: State, training_state: dict[str, Any]) -> Epoch:
        """What is to be written of the model whose record was just made."""
        record = self.latest[index]
        assert record is not None
        is_last = record["training_iteration"] == self.max_epochs or index not in self.active()
        return Epoch(self.runs[index], state, training_state, record, self.params[index], is_last)


def finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: null stands for both."""
    return value if value is not None and math.isfinite(value) else None

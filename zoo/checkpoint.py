"""What a run leaves on disk at every epoch."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from zoo import files, paths
from zoo.module import Classifier
from zoo.record import read_records


class RecordEpoch(pl.Callback):
    """Before the first step and after every epoch: evaluate, write the checkpoint, then the record.

    The record (a line of result.json) comes last: an epoch that has one is complete, whatever happens later.
    """

    def __init__(self, run: Path, params: dict[str, Any], stop_diverged: bool = True):
        """`params` is repeated in every record, as the released zoos have it. A model with a non-finite weight
        never comes back: with `stop_diverged`, training ends there."""
        self.run = run
        self.params = params
        self.stop_diverged = stop_diverged
        self.records: list[dict[str, Any]] = []
        self.started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Classifier) -> None:
        self.records = read_records(self.run)
        self.started = time.perf_counter()
        if not self.records:
            self.save(pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Classifier) -> None:
        self.save(pl_module)
        if self.stop_diverged and self.records[-1]["diverged"]:
            trainer.should_stop = True

    def save(self, module: Classifier) -> None:
        epoch = module.epoch
        state = {key: value.detach().cpu() for key, value in module.model.state_dict().items()}
        metrics = {key: finite(value) for key, value in module.evaluate().items()}
        now = time.perf_counter()
        files.write_torch(paths.checkpoint(self.run, epoch), state)
        files.write_torch(paths.optimizer(self.run, epoch), module.training_state())
        before = self.records[-1]["time_total_s"] if self.records else 0.0
        self.records.append(
            {
                **metrics,
                "training_iteration": epoch,
                "diverged": not all(value.isfinite().all() for value in state.values()),
                "time_this_iter_s": now - self.started,
                "time_total_s": before + now - self.started,
                "config": self.params,
            }
        )
        lines = "".join(json.dumps(record) + "\n" for record in self.records)
        files.write_text(paths.result(self.run), lines)
        if epoch > 0:
            paths.optimizer(self.run, epoch - 1).unlink(missing_ok=True)
        self.started = now


def finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: null stands for both."""
    return value if value is not None and math.isfinite(value) else None

"""What a run leaves on disk at every epoch, and how it is read back."""

import json
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from zoo import files, paths
from zoo.errors import ZooError
from zoo.module import Classifier


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


def read_records(run: Path) -> list[dict[str, Any]]:
    """The run's records, one per complete epoch from 0; empty if it has not begun."""
    path = paths.result(run)
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ZooError(f"{path}, line {number + 1} is damaged: not JSON ({error})") from error
        if record["training_iteration"] != number:
            raise ZooError(f"{path}, line {number + 1} is of epoch {record['training_iteration']}, not {number}")
        records.append(record)
    return records


def is_finished(records: list[dict[str, Any]], max_epochs: int, stop_diverged: bool = True) -> bool:
    """Whether there is nothing left to train: every epoch is recorded, or the model diverged and that ends it."""
    return bool(records) and (len(records) > max_epochs or (stop_diverged and records[-1]["diverged"]))


def read_state(run: Path, epoch: int) -> dict[str, Tensor]:
    """The state_dict after `epoch` epochs."""
    return load(paths.checkpoint(run, epoch))


def load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ZooError(f"{path} is missing: is {path.parent.parent} the directory of a run?") from None
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise ZooError(f"{path} is damaged: not a PyTorch file of tensors ({error})") from error

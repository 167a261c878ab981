"""How fast a raw zoo in the released layout is opened and converted: CNN-s, one file a state.

    python -m benchmarks.conversion [--models 200] [--epochs 50]

Prints states a second by the clock, and processor seconds (user and system, of all processes) for each step.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.curation import conversion
from zoo.disk import paths
from zoo.foreign.released import Released, open_released
from zoo.models.cnn import CNNSmall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=50)
    arguments = parser.parse_args()
    states = arguments.models * (arguments.epochs + 1)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        write_raw(raw, arguments.models, arguments.epochs)
        measure("every state by torch.load, as the released loader", states, lambda: load_all(raw))
        measure("opened", states, lambda: opened(raw))
        measure("tables read", states, lambda: opened(raw).models)
        measure("all states read", states, lambda: opened(raw).weights.states(np.arange(states)))
        measure("converted, without documents and zip", states, lambda: fill(raw, Path(folder) / "filled"))
        measure("python -m zoo convert", states, lambda: conversion.convert(raw, Path(folder) / "zoo"))


def measure(what: str, states: int, work: Callable[[], Any]) -> None:
    began, before = time.perf_counter(), processor_seconds()
    work()
    seconds, used = time.perf_counter() - began, processor_seconds() - before
    print(f"{what:50} {seconds:7.2f} s  {states / seconds:9,.0f} states/s  {used:7.2f} processor s", flush=True)


def processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def opened(raw: Path) -> Released:
    found = open_released(raw)
    assert found
    return found


def load_all(raw: Path) -> None:
    for path in raw.glob("*/checkpoint_*/checkpoints"):
        torch.load(path, weights_only=True)


def fill(raw: Path, zoo: Path) -> None:
    conversion.opened.cache_clear()
    zoo.mkdir()
    conversion.fill(raw, None, "", "mnist", "folders", zoo)


def write_raw(raw: Path, models: int, epochs: int) -> None:
    """Half of the models with dropout. The states are those of one training that never was: random numbers."""
    state = CNNSmall(1).state_dict()
    dropped = CNNSmall(1, dropout=0.5).state_dict()
    for number in range(models):
        config = params(number)
        run = (
            raw
            / f"NN_tune_trainable_cf22b_{number:05d}_{number}_model::dropout={config['model::dropout']},seed={number}"
        )
        run.mkdir(parents=True)
        paths.params(run).write_text(json.dumps(config))
        lines = [json.dumps(record(epoch, config)) for epoch in range(epochs + 1)]
        paths.result(run).write_text("\n".join(lines) + "\n")
        keys = dropped if number % 2 else state
        for epoch in range(epochs + 1):
            path = paths.checkpoint(run, epoch)
            path.parent.mkdir()
            torch.save({key: torch.randn(value.shape) for key, value in keys.items()}, path)


def params(number: int) -> dict[str, Any]:
    network = {"model::type": "CNN", "model::channels_in": 1, "model::o_dim": 10, "model::nlin": "tanh"}
    network |= {"model::dropout": 0.5 * (number % 2), "model::init_type": "uniform"}
    training = {"optim::optimizer": "adam", "optim::lr": 3e-4, "optim::wd": 0, "training::batchsize": 10}
    return network | training | {"training::epochs_train": 50, "seed": number}


def record(epoch: int, config: dict[str, Any]) -> dict[str, Any]:
    metrics = {f"{split}_{what}": 0.5 for split in ("train", "val", "test") for what in ("loss", "acc")}
    return metrics | {"training_iteration": epoch, "time_this_iter_s": 1.0, "time_total_s": epoch, "config": config}


if __name__ == "__main__":
    main()

"""Zoos whose models were never trained: random weights, and metrics that follow from them."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from zoo.disk import files, paths
from zoo.format.architecture import Architecture
from zoo.format.zoo_writer import ZooWriter

EPOCHS = 4
INITS = ("normal", "uniform", "zeros")


def network(width: int = 5) -> nn.Module:
    return nn.Sequential(nn.Linear(6, width), nn.Linear(width, 3))


def make(zoo: Path, models: int, width: int = 5, seed: int = 0, preset: str | None = None) -> Path:
    """The accuracy is a linear function of the weights, the gap of none; weights grow with epochs, and by `init`."""
    zoo.mkdir(parents=True)
    random = np.random.default_rng(seed)
    architecture = Architecture.of(network(width))
    direction = np.random.default_rng(99).normal(size=architecture.length)
    factors = {"init": list(INITS), "optim.lr": [0.1, 0.01], "seed": list(range(models // 2))}
    with ZooWriter(zoo, architecture, EPOCHS, list(factors)) as writer:
        for model in range(models):
            values = {"init": INITS[model % 3], "optim.lr": [0.1, 0.01][model % 2], "seed": model // 2}
            start = random.normal(size=architecture.length) + model % 3 - 1
            growth = random.normal(size=architecture.length) * 0.1 + 10 * values["optim.lr"]
            states = np.stack([start + epoch * growth for epoch in range(EPOCHS + 1)])
            accuracies = 1 / (1 + np.exp(-(states @ direction) / 40))
            records = [
                {**dict.fromkeys(("train_loss", "val_loss", "test_loss"), 1.0), "train_acc": min(1, acc + noise)}
                | {"val_acc": acc, "test_acc": acc, "diverged": False}
                for acc, noise in zip(accuracies.tolist(), random.uniform(0, 0.1, EPOCHS + 1).tolist(), strict=True)
            ]
            params = {"node": f"{zoo.name}{model}", "data": "none", "model": "mlp", **values}
            writer.add(params, 0, records, torch.from_numpy(states).float())
    command = [f"+zoo={preset}", "seed=range(0,9)"] if preset else ["seed=range(0,9)"]
    protocol = {"data": "none", "model": "mlp", "trainer.max_epochs": EPOCHS}
    config = {"name": zoo.name, "search_pattern": factors, "protocol": protocol, "commands": [command]}
    files.write_json(paths.config(zoo), config)
    return zoo

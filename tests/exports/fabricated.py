"""Zoos that were never trained: any architecture and any number of models, with random weights, in a moment."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from zoo.data.images import Images, Split
from zoo.disk import files, paths
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.weights import WeightsWriter


class SmallCNN(nn.Sequential):
    """The network of the Small CNN Zoo: 4,970 parameters."""

    def __init__(self) -> None:
        layers = [layer for inputs in (1, 16, 16) for layer in (nn.Conv2d(inputs, 16, 3, 2, 1), nn.ReLU())]
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def fabricate(
    zoo: Path,
    model: nn.Module,
    params: Sequence[Mapping[str, Any]],
    epochs: int,
    scale: Mapping[int, float] = MappingProxyType({}),
    lasts: Mapping[int, int] = MappingProxyType({}),
) -> Path:
    """A zoo of one model for each of `params` (by the names one types), with states of 0 to `epochs`.

    `scale`: by what a model's last state is multiplied. `lasts`: models that have fewer epochs.
    """
    architecture = Architecture.of(model)
    zoo.mkdir(parents=True)
    nodes: list[dict[str, Any]] = [
        {"node": f"l_{number:010x}", "seed": number, **values} for number, values in enumerate(params)
    ]
    generator = torch.Generator().manual_seed(0)
    histories = []
    with WeightsWriter(zoo, epochs + 1, architecture.length) as weights:
        for number, node in enumerate(nodes):
            states = torch.randn(lasts.get(number, epochs) + 1, architecture.length, generator=generator)
            states[-1] *= scale.get(number, 1)
            weights.add(states)
            finite = states.isfinite().all(dim=1).tolist()
            histories.append([record(number, epoch, not finite[epoch]) for epoch in range(len(states))])
            write_run(paths.runs(zoo) / node["node"], node, histories[-1], states, architecture)
    factors = [key for key in nodes[0] if key != "node"]
    states_table = tables.states(histories)
    tables.write(paths.metrics(zoo), states_table)
    tables.write(paths.models(zoo), tables.models(nodes, [0] * len(nodes), factors, states_table, epochs))
    architecture.save(paths.architecture(zoo))
    pattern = {key: sorted({node[key] for node in nodes}, key=str) for key in factors}
    files.write_json(paths.config(zoo), {"search_pattern": pattern})
    images().save(paths.images(zoo))
    return zoo


def record(model: int, epoch: int, diverged: bool) -> dict[str, Any]:
    metrics = {key: (epoch + 1) / (epoch + model + 2) for key in tables.LOSSES_AND_ACCURACIES}
    return {**metrics, "training_iteration": epoch, "diverged": diverged, "config": {"seed": model}}


def write_run(
    run: Path, node: Mapping[str, Any], records: Sequence[Any], states: torch.Tensor, architecture: Architecture
) -> None:
    run.mkdir(parents=True)
    paths.params(run).write_text(json.dumps(node))
    paths.result(run).write_text("".join(json.dumps(line) + "\n" for line in records))
    for epoch, vector in enumerate(states):
        path = paths.checkpoint(run, epoch)
        path.parent.mkdir()
        torch.save(architecture.unflatten(vector.clone(), 0), path)


def images() -> Images:
    def split(count: int) -> Split:
        return Split(torch.arange(count * 16.0).view(count, 1, 4, 4), torch.arange(count) % 10)

    return Images("tiny", split(12), split(3), split(5), 42, [str(number) for number in range(10)], [0.0], [1.0])

"""zoo -> analysis: its numbers and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.analysis import figures
from zoo.analysis.summary import accuracy_by_factor, count, summarise
from zoo.dataset.dataset import ZooDataset
from zoo.disk import files, paths
from zoo.format import tables


def analyze(zoo: Path, name: str, missing: Mapping[str, str]) -> dict[str, Any]:
    """Write the tables and figures of `zoo`/analysis; return the summary, with the zoo's `name` and what is missing."""
    dataset = ZooDataset(zoo)
    summary = {"name": name, "parameters": dataset.architecture.parameters, "epochs": dataset.epochs[-1]}
    summary |= summarise(dataset.models) | {"missing": dict(missing)}
    files.write_json(paths.summary(zoo), summary)
    tables.write(paths.accuracy_by_factor(zoo), accuracy_by_factor(dataset.models, dataset.factors))
    draw(dataset, name)
    return summary


def draw(dataset: ZooDataset, name: str) -> None:
    """Draw the figures, without diverged states."""
    zoo, models, states = dataset.path, dataset.models, dataset.states
    title = f"{name}: test accuracy of {count(len(models), 'model')}"
    figures.save(paths.accuracy_over_epochs(zoo), figures.accuracy_over_epochs(states[~states["diverged"]], title))
    finished = models.loc[models["status"] == tables.FINISHED, "test_acc"]
    title = f"{name}: test accuracy of {count(len(finished), 'finished model')}"
    figures.save(paths.final_accuracy(zoo), figures.final_accuracy(finished, title))

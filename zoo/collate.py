"""sweep -> zoo: what many runs left on disk, gathered, described and ready to be published."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from zoo import card, figures, files, paths, tables
from zoo.architecture import Architecture
from zoo.errors import ZooError
from zoo.folders import replacing, zip_folder
from zoo.record import read_records, read_state
from zoo.standalone import builder, standalone
from zoo.weights import WeightsWriter

Params = dict[str, Any]  # what a params.json holds
Records = list[dict[str, Any]]  # a model's, by epoch


def latest(sweeps: Path) -> Path:
    """The sweep in the folder `sweeps` that was started or continued last."""
    configs = [paths.config(folder) for folder in sweeps.glob("*") if paths.config(folder).exists()]
    if not configs:
        raise ZooError(f"{sweeps} holds no sweep: train one by `python train.py -m ...`, or give sweep=FOLDER")
    return max(configs, key=lambda path: path.stat().st_mtime_ns).parent


def collate(sweep: Path, zoo: Path) -> dict[str, Any]:
    """Make the zoo of a sweep and its zip file, or make them anew; return the zoo's summary. The sweep stays as it is.

    The zoo appears when it is complete; until then an older one stays. Runs that are damaged or have not begun are
    left out, and named in the summary. Raises ZooError if there is nothing to collate, if the models don't make one
    zoo, or if `zoo` is there and is anything but an older state of this zoo.
    """
    config, factors, epochs = read_config(sweep)
    nodes, missing = find_nodes(sweep)
    require_replaceable(zoo, sweep, {*nodes, *missing})
    params = in_order(nodes.values(), factors)
    require_some(sweep, params, missing)
    with replacing(zoo) as new:
        architecture, variants = write_architecture(new, params)
        kept: list[tuple[Params, int, Records]] = []
        with WeightsWriter(new, epochs + 1, architecture.length) as weights:
            for node, variant in zip(tqdm(params, "collating", unit="model"), variants, strict=True):
                run = sweep / node["node"]
                try:
                    kept.append((node, variant, add_run(run, new, weights, architecture, variant)))
                except ZooError as error:
                    missing[run.name] = reason(error, sweep)
            require_some(sweep, kept, missing)
        for path in (paths.config, paths.nodes):
            shutil.copyfile(path(sweep), path(new))
        files.link_or_copy(paths.images(sweep), paths.images(new))
        models, states = write_tables(new, kept, factors, epochs)
        summary = {"name": zoo.name, "parameters": architecture.parameters, "epochs": epochs}
        summary |= tables.summary(models) | {"missing": missing}
        files.write_json(paths.summary(new), summary)
        draw(new, zoo.name, models, states)
        card.write(new, summary, config, architecture)
    zip_folder(zoo, paths.archive(zoo))
    return summary


def read_config(sweep: Path) -> tuple[dict[str, Any], list[str], int]:
    """A sweep's config.json, its generating factors, and the number of epochs."""
    for path in (paths.config(sweep), paths.nodes(sweep), paths.images(sweep)):
        if not path.exists():
            raise ZooError(f"{sweep} is no sweep to collate: it has no {path.name}. Make it by train.py")
    with reading(paths.config(sweep)):
        config = files.read_json(paths.config(sweep))
        return config, list(config["search_pattern"]), config["protocol"]["trainer.max_epochs"]


def find_nodes(sweep: Path) -> tuple[dict[str, Params], dict[str, str]]:
    """The params.json of every node's run, and for each node without a readable one the reason why."""
    planned = paths.nodes(sweep).read_text(encoding="utf-8").split()
    found = sorted(folder.name for folder in sweep.iterdir() if paths.params(folder).exists())
    nodes, missing = {}, dict.fromkeys(planned, card.UNTRAINED)
    for name in found:
        path = paths.params(sweep / name)
        try:
            with reading(path):
                params = files.read_json(path)
                node, target = params["node"], params["config"]["model"]["_target_"]
            if node != name or not target:
                raise ZooError(f"{path} is that of {node}: give the folder its name back, or delete it")
            nodes[name] = params
            missing.pop(name, None)
        except ZooError as error:
            missing[name] = reason(error, sweep)
    return nodes, missing


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file leads to into a ZooError that names it."""
    try:
        yield
    except ZooError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{path} is damaged: {type(error).__name__} {error}") from error


def reason(error: ZooError, sweep: Path) -> str:
    """Why a run is left out: a line to be published, so without the place of the sweep."""
    return str(error).splitlines()[0].replace(f"{sweep}{os.sep}", "")


def require_replaceable(zoo: Path, sweep: Path, nodes: set[str]) -> None:
    """Raise ZooError if making the zoo of `nodes` in the folder `zoo` would destroy anything else."""
    if zoo.resolve().is_relative_to(sweep.resolve()) or sweep.resolve().is_relative_to(zoo.resolve()):
        raise ZooError(f"zoo_dir={zoo} and sweep={sweep} lie one in the other: choose another zoo_dir")
    if not zoo.exists() or (zoo.is_dir() and not any(zoo.iterdir())):
        return
    if not (paths.config(zoo).exists() and paths.models(zoo).exists()):
        raise ZooError(f"{zoo} is there and is no zoo: choose another zoo_dir, or move it away")
    others = sorted({run.name for run in paths.runs(zoo).glob("*")} - nodes)
    if others:
        raise ZooError(
            f"{zoo} holds {len(others)} models that {sweep} does not (such as {others[0]}): "
            "choose another zoo_dir, or move it away"
        )


def in_order(nodes: Iterable[Params], factors: Sequence[str]) -> list[Params]:
    """Sorted by the values of the factors, the seed last."""
    keys = sorted(factors, key=lambda key: key == "seed")

    def rank(value: Any) -> tuple[int, float, str]:
        is_number = isinstance(value, int | float)
        return (0, value, "") if is_number else (1, 0, json.dumps(value))

    return sorted(nodes, key=lambda node: ([rank(node.get(key)) for key in keys], node["node"]))


def write_architecture(zoo: Path, nodes: Sequence[Params]) -> tuple[Architecture, list[int]]:
    """Write model.py, architecture.json and index_dict.json; return the architecture and each node's variant of it.

    Raises ZooError if a node's model can't be built by model.py alone, or has other tensors than the first's.
    """
    targets = sorted({node["config"]["model"]["_target_"] for node in nodes})
    if len(targets) > 1:
        raise ZooError(f"a zoo has models of one class, but the sweep has {' and '.join(targets)}")
    source = standalone(targets[0])
    build = builder(source, targets[0])
    architecture: Architecture | None = None
    variants: dict[str, int] = {}  # by the model's config
    for node in nodes:
        choice = json.dumps(node["config"]["model"])
        if choice in variants:
            continue
        try:
            with torch.device("meta"):
                model = build(node)
        except Exception as error:  # the class is anyone's
            raise ZooError(f"model.py can't build the model of {node['node']} from its params.json: {error}") from error
        architecture = architecture or Architecture.of(model)
        try:
            variants[choice] = architecture.include(model)
        except ValueError as error:
            raise ZooError(f"{node['node']} can't be in one zoo with {nodes[0]['node']}: {error}") from error
    files.write_text(paths.model_source(zoo), source)
    architecture.save(paths.architecture(zoo))
    files.write_json(paths.index_dict(zoo), architecture.index_dict())
    return architecture, [variants[json.dumps(node["config"]["model"])] for node in nodes]


def add_run(run: Path, zoo: Path, weights: WeightsWriter, architecture: Architecture, variant: int) -> Records:
    """Add a run's states and files to the zoo; return its records. Raises ZooError, and adds nothing, if damaged."""
    records, states = read_run(run, architecture, variant)
    weights.add(states)
    link_run(run, paths.runs(zoo) / run.name, len(records))
    return records


def read_run(run: Path, architecture: Architecture, variant: int) -> tuple[Records, Tensor]:
    """The records, and the states [epochs, parameters] that belong to them."""
    with reading(paths.result(run)):
        keys = [*tables.LOSSES_AND_ACCURACIES, "diverged"]
        records = [{key: record[key] for key in keys} for record in read_records(run)]
    if not records:
        raise ZooError(card.UNTRAINED)
    states = torch.empty(len(records), architecture.length)
    for epoch, record in enumerate(records):
        with reading(paths.checkpoint(run, epoch)):
            states[epoch] = architecture.flatten(read_state(run, epoch), variant)
        record["diverged"] |= not states[epoch].isfinite().all()
    return records, states


def link_run(run: Path, copy: Path, epochs: int) -> None:
    """The run's files up to an epoch, without their bytes again where the file system allows."""
    for epoch in range(epochs):
        files.link_or_copy(paths.checkpoint(run, epoch), paths.checkpoint(copy, epoch))
    optimizer = paths.optimizer(run, epochs - 1)
    if optimizer.exists():  # training may have gone on
        files.link_or_copy(optimizer, paths.optimizer(copy, epochs - 1))
    shutil.copyfile(paths.params(run), paths.params(copy))
    records = paths.result(run).read_bytes().splitlines(keepends=True)[:epochs]
    paths.result(copy).write_bytes(b"".join(records))


def require_some(sweep: Path, runs: Sequence[Any], missing: Mapping[str, str]) -> None:
    if not runs:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in missing.items())
        raise ZooError(f"{sweep} holds no run to collate: train it by train.py{reasons}")


def write_tables(
    zoo: Path, kept: Sequence[tuple[Params, int, Records]], factors: Sequence[str], epochs: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write and return the tables of models and of states."""
    params, variants, records = zip(*kept, strict=True)
    states = tables.states(records)
    models = tables.models(params, variants, factors, states, epochs)
    tables.write(paths.models(zoo), models)
    tables.write(paths.metrics(zoo), states)
    tables.write(paths.accuracy_by_factor(zoo), tables.accuracy_by_factor(models, factors))
    return models, states


def draw(zoo: Path, name: str, models: pd.DataFrame, states: pd.DataFrame) -> None:
    """Draw the figures, without diverged states."""
    title = f"{name}: test accuracy of {card.count(len(models), 'model')}"
    figures.save(paths.accuracy_over_epochs(zoo), figures.accuracy_over_epochs(states[~states["diverged"]], title))
    finished = models.loc[models["status"] == tables.FINISHED, "test_acc"]
    title = f"{name}: test accuracy of {card.count(len(finished), 'finished model')}"
    figures.save(paths.final_accuracy(zoo), figures.final_accuracy(finished, title))

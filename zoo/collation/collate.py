"""sweep -> zoo: what many runs left on disk, gathered."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from zoo.collation.runs import Params, Records, find_nodes, link_run, read_run, reading, reason
from zoo.collation.standalone import builder, standalone
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.weights import WeightsWriter


def collate(sweep: Path, zoo: Path) -> dict[str, str]:
    """Put the models of a sweep, their tables and their weights into the empty folder `zoo`. The sweep stays as it is.

    Returns why a node is missing, for each that is: runs that are damaged or have not begun are left out. Raises
    ZooError if there is nothing to collate, or if the models don't make one zoo.
    """
    config, factors, epochs = read_config(sweep)
    nodes, missing = find_nodes(sweep)
    params = in_order(nodes.values(), factors)
    require_some(sweep, params, missing)
    architecture, variants = write_architecture(zoo, params)
    kept: list[tuple[Params, int, Records]] = []
    with WeightsWriter(zoo, epochs + 1, architecture.length) as weights:
        for node, variant in zip(tqdm(params, "collating", unit="model"), variants, strict=True):
            run = sweep / node["node"]
            try:
                kept.append((node, variant, add_run(run, zoo, weights, architecture, variant)))
            except ZooError as error:
                missing[run.name] = reason(error, sweep)
        require_some(sweep, kept, missing)
    for path in (paths.config, paths.nodes, paths.old_nodes):
        if path(sweep).exists():
            shutil.copyfile(path(sweep), path(zoo))
    files.link_or_copy(paths.images(sweep), paths.images(zoo))
    write_tables(zoo, kept, factors, epochs)
    return missing


def read_config(sweep: Path) -> tuple[dict[str, Any], list[str], int]:
    """A sweep's config.json, its generating factors, and the number of epochs."""
    for path in (paths.config(sweep), paths.images(sweep)):
        if not path.exists():
            raise ZooError(f"{sweep} is no sweep to collate: it has no {path.name}. Make it by train.py")
    with reading(paths.config(sweep)):
        config = files.read_json(paths.config(sweep))
        return config, list(config["search_pattern"]), config["protocol"]["trainer.max_epochs"]


def require_replaceable(zoo: Path, sweep: Path) -> None:
    """Raise ZooError if making the zoo of `sweep` in the folder `zoo` would destroy anything but an older one."""
    read_config(sweep)
    if zoo.resolve().is_relative_to(sweep.resolve()) or sweep.resolve().is_relative_to(zoo.resolve()):
        raise ZooError(f"zoo_dir={zoo} and sweep={sweep} lie one in the other: choose another zoo_dir")
    if not zoo.exists() or (zoo.is_dir() and not any(zoo.iterdir())):
        return
    if not (paths.config(zoo).exists() and paths.models(zoo).exists()):
        raise ZooError(f"{zoo} is there and is no zoo: choose another zoo_dir, or move it away")
    nodes, missing = find_nodes(sweep)
    others = sorted({run.name for run in paths.runs(zoo).glob("*")} - {*nodes, *missing})
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


def require_some(sweep: Path, runs: Sequence[Any], missing: Mapping[str, str]) -> None:
    if not runs:
        reasons = "".join(f"\n  {name}: {reason}" for name, reason in missing.items())
        raise ZooError(f"{sweep} holds no run to collate: train it by train.py{reasons}")


def write_tables(zoo: Path, kept: Sequence[tuple[Params, int, Records]], factors: Sequence[str], epochs: int) -> None:
    """Write the tables of models and of states."""
    params, variants, records = zip(*kept, strict=True)
    states = tables.states(records)
    tables.write(paths.models(zoo), tables.models(params, variants, factors, states, epochs))
    tables.write(paths.metrics(zoo), states)

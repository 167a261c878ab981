"""sweep -> zoo: what many runs left on disk, gathered."""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zoo.collation import old_sweeps
from zoo.collation.config import COPIED, read_config
from zoo.collation.reading import own_file, reason
from zoo.collation.runs import Params, Records, find_nodes, link_run, measured, read_run
from zoo.data.errors import DataError
from zoo.data.images import Images
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.escape import one_line
from zoo.format.model_source import is_model_source
from zoo.format.train_metrics import train_metrics
from zoo.format.weights import WeightsWriter

LISTED = 20  # runs that are left out, in an error; the others are counted


@dataclass(frozen=True)
class Member:
    """A model that is in the zoo."""

    params: Params
    variant: int  # of the architecture
    records: Records


def collate(sweep: Path, zoo: Path) -> dict[str, str]:
    """Put the models of a sweep, their tables and their weights into the empty folder `zoo`. The sweep stays as it is.

    A sweep is data, from anyone: nothing in it is executed, and what lies outside of it is never taken.
    Returns why a node is missing, for each that is: runs that are damaged or have not begun are left out. Raises
    ZooError if there is nothing to collate, the images are damaged, or the models don't make one zoo.
    """
    factors, epochs = read_config(sweep)
    require_images(sweep)
    nodes, missing = find_nodes(sweep)
    params = in_order(nodes.values(), factors)
    require_some(sweep, params, missing)
    architecture, source = describe(sweep, params)
    kept: list[Member] = []
    with WeightsWriter(zoo, epochs + 1, architecture.length) as weights:
        for node in tqdm(params, "collating", unit="model"):
            try:
                kept.append(add_run(sweep, node, zoo, weights, architecture, kept))
            except ZooError as error:
                missing[node["node"]] = reason(error, sweep)
        require_some(sweep, kept, missing)
    write_description(zoo, architecture, source)
    copy_files(sweep, zoo)
    write_tables(zoo, kept, factors, epochs)
    return missing


def require_images(sweep: Path) -> None:
    """Raise ZooError if the sweep's images are damaged."""
    try:
        Images.load(own_file(paths.images(sweep), sweep))
    except DataError as error:
        raise ZooError(damaged(paths.images(sweep), sweep)) from error


def damaged(path: Path, sweep: Path) -> str:
    return f"{path} is damaged: the command that trained {sweep} makes it anew"


def require_replaceable(zoo: Path, sweep: Path) -> None:
    """Raise ZooError if making the zoo of `sweep` in the folder `zoo` would destroy anything but an older one."""
    read_config(sweep)
    require_name(zoo)
    if zoo.resolve().is_relative_to(sweep.resolve()) or sweep.resolve().is_relative_to(zoo.resolve()):
        raise ZooError(f"zoo_dir={zoo} and sweep={sweep} lie one in the other: choose another zoo_dir")
    if not zoo.exists() or (zoo.is_dir() and not any(zoo.iterdir())):
        return
    if not (paths.config(zoo).exists() and paths.models(zoo).exists()):
        raise ZooError(f"{zoo} is there and is no zoo: choose another zoo_dir, or move it away")
    nodes, missing = find_nodes(sweep)
    others = sorted({run.name for run in paths.runs(zoo).glob("*")} - {*nodes, *missing})
    if others:
        dropped = {run.name for run in paths.dropped(sweep).glob("*")}
        left = f"were dropped from {sweep}" if dropped.issuperset(others) else f"{sweep} does not"
        raise ZooError(
            f"{zoo} holds {len(others)} models that {left} (such as {others[0]}): "
            "choose another zoo_dir, or move it away"
        )


def require_name(zoo: Path) -> None:
    """Raise ZooError if there can be no folder `zoo`, or if it has no name of its own."""
    try:
        zoo.resolve().exists()
        named = zoo.name not in ("", "..")
    except (
        OSError,
        ValueError,
        RuntimeError,
    ) as error:  # too long, with characters that no name has, links in a circle
        raise ZooError(f"zoo_dir={one_line(zoo)} can't be a folder ({error}): choose another") from error
    if not named:
        raise ZooError(f"zoo_dir={zoo} has no name of its own: give the folder by its name")


def in_order(nodes: Iterable[Params], factors: Sequence[str]) -> list[Params]:
    """Sorted by the values of the factors, the seed last."""
    keys = sorted(factors, key=lambda key: key == "seed")

    def rank(value: Any) -> tuple[int, float, str]:
        is_number = isinstance(value, int | float)
        return (0, value, "") if is_number else (1, 0, json.dumps(value))

    return sorted(nodes, key=lambda node: ([rank(node.get(key)) for key in keys], node["node"]))


def describe(sweep: Path, nodes: Sequence[Params]) -> tuple[Architecture, str]:
    """The architecture of a sweep's models, and the source of their class: as kept in it, or of an old one looked up.

    Raises ZooError if either is damaged.
    """
    saved, source = paths.architecture(sweep), paths.model_source(sweep)
    if not (saved.exists() and source.exists()):
        return old_sweeps.describe(sweep, nodes)
    try:
        architecture = Architecture.load(saved)
    except ZooError as error:
        raise ZooError(damaged(saved, sweep)) from error
    text = source.read_text(encoding="utf-8", errors="replace")
    if not is_model_source(text):
        raise ZooError(damaged(source, sweep))
    return architecture, text


def write_description(zoo: Path, architecture: Architecture, source: str) -> None:
    files.write_text(paths.model_source(zoo), source)
    architecture.save(paths.architecture(zoo))
    files.write_json(paths.index_dict(zoo), architecture.index_dict())


def copy_files(sweep: Path, zoo: Path) -> None:
    for name in COPIED:
        if name(sweep).exists():
            shutil.copyfile(own_file(name(sweep), sweep), name(zoo))
    files.link_or_copy(own_file(paths.images(sweep), sweep), paths.images(zoo))


def add_run(
    sweep: Path,
    node: Params,
    zoo: Path,
    weights: WeightsWriter,
    architecture: Architecture,
    others: Sequence[Member],
) -> Member:
    """Add a node's states and files to the zoo. Raises ZooError, and adds nothing, if damaged."""
    run, copy = sweep / node["node"], paths.runs(zoo) / node["node"]
    records, states, variant = read_run(run, architecture, weights.shape[0])
    if others and measured(records[0]) != measured(others[0].records[0]):
        raise ZooError(f"{paths.result(run)} has other accuracies than {others[0].params['node']}")
    if others and train_metrics(node) != train_metrics(others[0].params):
        raise ZooError(f"{paths.params(run)} has other train_metrics than {others[0].params['node']}")
    try:
        link_run(run, copy, len(records))
    except ZooError:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    weights.add(states)
    return Member(node, variant, records)


def require_some(sweep: Path, runs: Sequence[Any], missing: Mapping[str, str]) -> None:
    if not runs:
        lines = [f"  {name}: {reason}" for name, reason in missing.items()]
        if len(lines) > LISTED:
            lines[LISTED:] = [f"  and {len(lines) - LISTED:,} more"]
        raise ZooError(
            "\n".join([f"{sweep} holds no run to collate, of {len(missing):,}: train it by train.py", *lines])
        )


def write_tables(zoo: Path, kept: Sequence[Member], factors: Sequence[str], epochs: int) -> None:
    """Write the tables of models and of states."""
    states = tables.states([member.records for member in kept])
    params, variants = [member.params for member in kept], [member.variant for member in kept]
    tables.write(paths.models(zoo), tables.models(params, variants, factors, states, epochs))
    tables.write(paths.metrics(zoo), states)

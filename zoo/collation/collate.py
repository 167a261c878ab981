"""sweep -> zoo: what many runs left on disk, gathered."""

import functools
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count
from torch import Tensor
from tqdm import tqdm

from zoo.collation import old_sweeps
from zoo.collation.config import COPIED, read_config
from zoo.collation.reading import own_file, reason
from zoo.collation.runs import Taken, find_nodes, measured, take_runs
from zoo.data.errors import DataError
from zoo.data.images import Images
from zoo.disk import files, paths
from zoo.disk.folders import require_name
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.compact import FOLDERS
from zoo.format.model_source import is_model_source
from zoo.format.runs import Runs
from zoo.format.train_metrics import train_metrics
from zoo.format.zoo_writer import Member, Params, Records, ZooWriter
from zoo.installation import command
from zoo.processes import mapping

# The work of which a process is given one part after another
MODELS_A_TASK = 8
BYTES_A_TASK = 2**25

# Worker processes take seconds to start, so that there are as many as there is work for (measured, on one busy core).
SECONDS_A_PROCESS = 4.0
SECONDS_A_STATE = 3e-4
SECONDS_A_NUMBER = 1e-8  # of a state

LISTED = 20  # runs that are left out, in an error; the others are counted


def collate(sweep: Path, zoo: Path, files_of_runs: str = FOLDERS) -> dict[str, str]:
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
    names = [node["node"] for node in params]
    with (
        ZooWriter(zoo, architecture, epochs, factors, files_of_runs) as writer,
        closing(take_all(sweep, zoo, architecture, epochs + 1, names, files_of_runs)) as taken,
    ):
        for node, found in zip(params, taken, strict=True):
            try:
                add_run(sweep, node, found, writer)
            except ZooError as error:
                missing[node["node"]] = reason(error, sweep)
        require_some(sweep, writer.members, missing)
    files.write_text(paths.model_source(zoo), source)
    copy_files(sweep, zoo)
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
    require_name(zoo, "zoo_dir")
    if zoo.resolve().is_relative_to(sweep.resolve()) or sweep.resolve().is_relative_to(zoo.resolve()):
        raise ZooError(f"zoo_dir={zoo} and sweep={sweep} lie one in the other: choose another zoo_dir")
    if not zoo.exists() or (zoo.is_dir() and not any(zoo.iterdir())):
        return
    if not (paths.config(zoo).exists() and paths.models(zoo).exists()):
        raise ZooError(f"{zoo} is there and is no zoo: choose another zoo_dir, or move it away")
    nodes, missing = find_nodes(sweep)
    others = sorted({*Runs(zoo).nodes()} - {*nodes, *missing})
    if others:
        dropped = {run.name for run in paths.dropped(sweep).glob("*")}
        left = f"were dropped from {sweep}" if dropped.issuperset(others) else f"{sweep} does not"
        raise ZooError(
            f"{zoo} holds {len(others)} models that {left} (such as {others[0]}): "
            "choose another zoo_dir, or move it away"
        )


def in_order(nodes: Iterable[Params], factors: Sequence[str]) -> list[Params]:
    """Sorted by the values of the factors, the seed last."""
    keys = sorted(factors, key=lambda key: key == "seed")
    return sorted(nodes, key=lambda node: ([tables.rank(node.get(key)) for key in keys], node["node"]))


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


def copy_files(sweep: Path, zoo: Path) -> None:
    for name in COPIED:
        if name(sweep).exists():
            shutil.copyfile(own_file(name(sweep), sweep), name(zoo))
    files.link_or_copy(own_file(paths.images(sweep), sweep), paths.images(zoo))


def take_all(
    sweep: Path, zoo: Path, architecture: Architecture, epochs: int, names: Sequence[str], files_of_runs: str
) -> Generator[Taken | str]:
    """Put the runs of these nodes into the zoo one after another, or say why one can't be in it."""
    size = max(1, min(MODELS_A_TASK, BYTES_A_TASK // (4 * epochs * architecture.length)))
    tasks = [names[first : first + size] for first in range(0, len(names), size)]
    job = functools.partial(take_runs, sweep, zoo, architecture, epochs, files_of_runs)
    processes = processes_for(len(names) * epochs, architecture.length)
    with mapping(job, processes) as done, tqdm(total=len(names), desc="collating", unit="model") as progress:
        for found in done(tasks):
            yield from found
            progress.update(len(found))


def processes_for(states: int, parameters: int) -> int:
    """How many processes take so many states the soonest; of few, this one alone."""
    seconds = states * (SECONDS_A_STATE + SECONDS_A_NUMBER * parameters)
    return max(1, min(cpu_count(), int(seconds / SECONDS_A_PROCESS)))


def add_run(sweep: Path, node: Params, found: Taken | str, writer: ZooWriter) -> None:
    """Put the states of a run that was taken among those of the others.

    Raises ZooError, and leaves nothing of the run, if it was not taken or can't be in one zoo with the others.
    """
    if isinstance(found, str):
        raise ZooError(found)
    run, copy = sweep / node["node"], paths.runs(writer.zoo) / node["node"]
    if writer.members and (difference := differing(node, found.records, run, writer.members[0])):
        shutil.rmtree(copy)
        raise ZooError(f"{difference} than {writer.members[0].params['node']}")
    states = vectors(paths.vectors(copy), len(found.records))
    paths.vectors(copy).unlink()  # what is mapped stays
    writer.add(node, found.variant, found.records, states)


def differing(node: Params, records: Records, run: Path, first: Member) -> str | None:
    """What of a run is other than the first member has it, which one zoo can't mix; None if nothing is."""
    if measured(records[0]) != measured(first.records[0]):
        return f"{paths.result(run)} has other accuracies"
    if train_metrics(node) != train_metrics(first.params):
        return f"{paths.params(run)} has other train_metrics"
    return None


def vectors(path: Path, states: int) -> Tensor:
    """The states [epochs, parameters] in a file that `take_run` wrote, memory-mapped."""
    return torch.from_file(str(path), size=path.stat().st_size // 4).view(states, -1)


def require_some(sweep: Path, runs: Sequence[Any], missing: Mapping[str, str]) -> None:
    if not runs:
        lines = [f"  {name}: {reason}" for name, reason in missing.items()]
        if len(lines) > LISTED:
            lines[LISTED:] = [f"  and {len(lines) - LISTED:,} more"]
        how = f"train it by `{command('train')}`"
        raise ZooError("\n".join([f"{sweep} holds no run to collate, of {len(missing):,}: {how}", *lines]))

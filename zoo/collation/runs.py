"""The runs of a sweep as a zoo takes them: what can be read, and why the others can't."""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.collation.reading import json_object, own_file, reading, reason
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.compact import COMPACT, leave_out
from zoo.format.node_table import node_names
from zoo.format.reading import is_plain_name
from zoo.format.record import STATE_DIGEST, Missing, check_optimizer, read_records
from zoo.format.states import StateReader
from zoo.format.zoo_writer import Params, Records


@dataclass(frozen=True)
class Taken:
    """What the tables of a zoo say of a run that is in it."""

    variant: int  # of the architecture
    records: Records


def find_nodes(sweep: Path) -> tuple[dict[str, Params], dict[str, str]]:
    """The params.json of every node's run, and for each node without a readable one the reason why."""
    planned = node_names(sweep)
    found = sorted(folder.name for folder in sweep.iterdir() if os.path.lexists(paths.params(folder)))
    nodes, missing = {}, dict.fromkeys(planned, tables.UNTRAINED)
    for name in found:
        try:
            nodes[name] = read_params(sweep, name)
            missing.pop(name, None)
        except ZooError as error:
            missing[name] = reason(error, sweep)
    return nodes, missing


def read_params(sweep: Path, name: str) -> Params:
    path = paths.params(sweep / name)
    with reading(path):
        params = json_object(own_file(path, sweep))
        if not isinstance(params["config"]["model"], Mapping):
            raise TypeError("its config.model is no object")
    if params["node"] != name or not is_plain_name(name):
        raise ZooError(f"{path} is that of {params['node']!r}: give the folder its name back, or delete it")
    return params


def take_runs(
    sweep: Path, zoo: Path, architecture: Architecture, epochs: int, files_of_runs: str, names: Sequence[str]
) -> list[Taken | str]:
    """Put the runs of these nodes into the zoo, or say why one can't be in it.

    The states of each are in a file beside its others, for whoever puts those of all runs together.
    """
    reader = StateReader(architecture)
    found: list[Taken | str] = []
    for name in names:
        try:
            copy = paths.runs(zoo) / name
            found.append(take_run(sweep / name, copy, reader, epochs))
            if files_of_runs == COMPACT:  # the writer would do it, too, but alone
                states = np.fromfile(paths.vectors(copy), np.float32).reshape(-1, architecture.length)
                leave_out(copy, architecture, reader.variant, states)
        except ZooError as error:
            found.append(reason(error, sweep))
    return found


def take_run(run: Path, copy: Path, reader: StateReader, epochs: int) -> Taken:
    """Put a run's files and states into the folder `copy`. `epochs`: how many records there can be, at most.

    Raises ZooError, and leaves nothing, for what is damaged or not the sweep's own.
    """
    records, found = read_whole_records(run, epochs)
    require_optimizer(run, found[-1])
    try:
        finite = take_states(run, copy, reader, found)
        link_run(run, copy, len(records))
    except ZooError:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    for record, is_finite in zip(records, finite, strict=True):
        record["diverged"] |= not is_finite
    return Taken(reader.variant, records)


def take_states(run: Path, copy: Path, reader: StateReader, records: Records) -> list[bool]:
    """The states that belong to the records, as files and as vectors; returns whether each has finite numbers only."""
    copy.mkdir(parents=True)
    finite = []
    with open(paths.vectors(copy), "wb") as vectors:
        for epoch, record in enumerate(records):
            path = paths.checkpoint(run, epoch)
            with reading(path):
                file = own_file(path, run.parent)
                vector = reader.read(path, epoch, record.get(STATE_DIGEST))
            finite.append(bool(np.isfinite(vector).all()))
            vectors.write(vector.data)
            files.link_or_copy(file, paths.checkpoint(copy, epoch))
    return finite


def read_whole_records(run: Path, epochs: int) -> tuple[Records, Records]:
    """What the tables take of a run's records, and these. Raises ZooError unless all of them can be in a zoo."""
    path = paths.result(run)
    if not os.path.lexists(path):
        raise ZooError(tables.UNTRAINED)
    with reading(path):
        own_file(path, run.parent)
        keys = [*tables.LOSSES_AND_ACCURACIES, "diverged"]
        found = read_records(run)
        if not found:
            raise ZooError(tables.UNTRAINED)
        if len(found) > epochs:
            raise ValueError(f"it has {len(found)} epochs, of the {epochs} that the sweep is to have")
        records = [{key: record[key] for key in keys} for record in found]
        if len({measured(record) for record in records}) > 1:
            raise ValueError("an accuracy is missing that other epochs have")
    return records, found


def require_optimizer(run: Path, record: Mapping[str, Any]) -> None:
    """Raise ZooError if the optimizer file of a run's last record is damaged. It may be missing."""
    path = paths.optimizer(run, record["training_iteration"])
    with reading(path), contextlib.suppress(FileNotFoundError, Missing):  # training may have gone on, and removed it
        own_file(path, run.parent)
        check_optimizer(run, record)


def measured(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The accuracies that a record has: there are none on a split without images."""
    return tuple(key for key in tables.ACCURACIES if record[key] is not None)


def link_run(run: Path, copy: Path, epochs: int) -> None:
    """The run's other files, up to an epoch."""
    sweep = run.parent
    with contextlib.suppress(FileNotFoundError):  # training may have gone on, and removed it just now
        files.link_or_copy(own_file(paths.optimizer(run, epochs - 1), sweep), paths.optimizer(copy, epochs - 1))
    shutil.copyfile(own_file(paths.params(run), sweep), paths.params(copy))
    if paths.environment(run).exists():
        shutil.copyfile(own_file(paths.environment(run), sweep), paths.environment(copy))
    records = own_file(paths.result(run), sweep).read_bytes().splitlines(keepends=True)[:epochs]
    paths.result(copy).write_bytes(b"".join(records))

"""The runs of a sweep as a zoo takes them: what can be read, and why the others can't."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.collation.reading import json_object, own_file, reading, reason
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.node_table import node_names
from zoo.format.reading import is_plain_name
from zoo.run.record import Missing, check_optimizer, read_records, read_state

Params = dict[str, Any]  # what a params.json holds
Records = list[dict[str, Any]]  # a model's, by epoch


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


def read_run(run: Path, architecture: Architecture, epochs: int) -> tuple[Records, Tensor, int]:
    """The records, the states [epochs, parameters] that belong to them, and the variant of the architecture.

    `epochs`: how many records there can be, at most. Raises ZooError for what is damaged or not the sweep's own.
    """
    records, found = read_whole_records(run, epochs)
    require_optimizer(run, found[-1])
    states, variant = torch.empty(len(records), architecture.length), 0
    for epoch, record in enumerate(records):
        path = paths.checkpoint(run, epoch)
        with reading(path):
            own_file(path, run.parent)
            state = read_state(run, epoch, found[epoch])
            if not epoch:
                variant = architecture.variant_of(state)
            states[epoch] = architecture.flatten(state, variant)
        record["diverged"] |= not states[epoch].isfinite().all()
    return records, states, variant


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
    """The run's files up to an epoch, without their bytes again where the file system allows."""
    sweep = run.parent
    for epoch in range(epochs):
        files.link_or_copy(own_file(paths.checkpoint(run, epoch), sweep), paths.checkpoint(copy, epoch))
    with contextlib.suppress(FileNotFoundError):  # training may have gone on, and removed it just now
        files.link_or_copy(own_file(paths.optimizer(run, epochs - 1), sweep), paths.optimizer(copy, epochs - 1))
    shutil.copyfile(own_file(paths.params(run), sweep), paths.params(copy))
    if paths.environment(run).exists():
        shutil.copyfile(own_file(paths.environment(run), sweep), paths.environment(copy))
    records = own_file(paths.result(run), sweep).read_bytes().splitlines(keepends=True)[:epochs]
    paths.result(copy).write_bytes(b"".join(records))

"""The runs of a sweep as a zoo takes them: what can be read, and why the others can't."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.node_table import node_names
from zoo.run.record import Missing, check_optimizer, read_records, read_state

Params = dict[str, Any]  # what a params.json holds
Records = list[dict[str, Any]]  # a model's, by epoch


def find_nodes(sweep: Path) -> tuple[dict[str, Params], dict[str, str]]:
    """The params.json of every node's run, and for each node without a readable one the reason why."""
    planned = node_names(sweep)
    found = sorted(folder.name for folder in sweep.iterdir() if paths.params(folder).exists())
    nodes, missing = {}, dict.fromkeys(planned, tables.UNTRAINED)
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


def read_run(run: Path, architecture: Architecture, variant: int) -> tuple[Records, Tensor]:
    """The records, and the states [epochs, parameters] that belong to them."""
    with reading(paths.result(run)):
        keys = [*tables.LOSSES_AND_ACCURACIES, "diverged"]
        found = read_records(run)
        records = [{key: record[key] for key in keys} for record in found]
    if not records:
        raise ZooError(tables.UNTRAINED)
    with contextlib.suppress(Missing):  # training may have gone on
        check_optimizer(run, found[-1])
    states = torch.empty(len(records), architecture.length)
    for epoch, record in enumerate(records):
        with reading(paths.checkpoint(run, epoch)):
            states[epoch] = architecture.flatten(read_state(run, epoch, found[epoch]), variant)
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
    if paths.environment(run).exists():
        shutil.copyfile(paths.environment(run), paths.environment(copy))
    records = paths.result(run).read_bytes().splitlines(keepends=True)[:epochs]
    paths.result(copy).write_bytes(b"".join(records))


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

"""Reading a run's files back: its hyperparameters, its records, its states."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.node.node import Node

if TYPE_CHECKING:
    from torch import Tensor


def claim(node: Node) -> None:
    """Write the params.json of the node's run, or make sure that the one there is the same."""
    path, params = paths.params(node.run), node.params
    if not path.exists():
        files.write_json(path, params)
        return
    there = files.read_json(path)
    if not node.is_same(there.get("config", {})):
        differing = [key for key in params if key != "config" and there.get(key) != params[key]]
        raise ZooError(
            f"{node.run} holds another config: "
            + ", ".join(f"{key}={there.get(key)!r} there, {params[key]!r} here" for key in differing)
            + ". Move that directory away, or choose another zoo.name"
        )
    if there.get("trainer.max_epochs") != node.max_epochs:
        files.write_json(path, params)


def read_records(run: Path) -> list[dict[str, Any]]:
    """The run's records, one per complete epoch from 0; empty if it has not begun."""
    path = paths.result(run)
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().splitlines()):
        try:
            record = json.loads(line)
            epoch = record["training_iteration"]
        except (ValueError, KeyError, TypeError) as error:
            raise ZooError(f"{path}, line {number + 1} is damaged: no record of an epoch ({error!r})") from error
        if epoch != number:
            raise ZooError(f"{path}, line {number + 1} is of epoch {epoch}, not {number}")
        records.append(record)
    return records


def is_finished(node: Node) -> bool:
    """Whether the node's run has nothing left to train."""
    return is_complete(read_records(node.run), node.max_epochs, node.config["stop_diverged"])


def is_complete(records: list[dict[str, Any]], max_epochs: int, stop_diverged: bool = True) -> bool:
    """Whether there is nothing left to train: every epoch is recorded, or the model diverged and that ends it."""
    return bool(records) and (len(records) > max_epochs or (stop_diverged and records[-1]["diverged"]))


def read_state(run: Path, epoch: int) -> "dict[str, Tensor]":
    """The state_dict after `epoch` epochs."""
    return load(paths.checkpoint(run, epoch))


def load(path: Path) -> dict[str, Any]:
    """A file of tensors and plain values."""
    import torch  # takes seconds, and most of this module has no use for it

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ZooError(f"{path} is missing: is {path.parent.parent} the directory of a run?") from None
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise ZooError(f"{path} is damaged: not a PyTorch file of tensors ({error})") from error

"""All states of a zoo as one float32 tensor `weights` [models, epochs, parameters], in safetensors files."""

import bisect
import contextlib
import itertools
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from zoo.disk import files, paths
from zoo.format.reading import checking, damaged, is_plain_name, json_object, reading

TENSOR = "weights"
SHARD_BYTES = 2**30
HEADER_BYTES = 256  # room for the header, which is written last: only then is the number of models known


class WeightsWriter:
    """Writes models one after another; a context, at whose end the files get their headers and names."""

    def __init__(self, zoo: Path, epochs: int, parameters: int, shard_bytes: int = SHARD_BYTES):
        """A file gets as many models as fit into `shard_bytes`, but at least one."""
        self.zoo = zoo
        self.shape = (epochs, parameters)
        self.capacity = max(1, shard_bytes // (4 * epochs * parameters))
        self.models: list[int] = []  # in each file
        self.file: BinaryIO | None = None  # the last of them, while models are added to it

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.end_shard()
                self.name_shards()
        finally:
            if self.file:  # something failed, and a full disk fails again here: that would hide what failed first
                with contextlib.suppress(OSError):
                    self.file.close()

    def add(self, states: Tensor) -> None:
        """The next model's states [epochs, parameters], float32; those that are missing at the end become NaN."""
        file = self.file if self.file and self.models[-1] < self.capacity else self.begin_shard()
        epochs, parameters = self.shape
        file.write(states.numpy().data)
        file.write(torch.full((epochs - len(states), parameters), torch.nan).numpy().data)
        self.models[-1] += 1

    def begin_shard(self) -> BinaryIO:
        self.end_shard()
        self.file = file = open(self.unnamed(len(self.models) + 1), "wb")
        self.models.append(0)
        file.write(bytes(HEADER_BYTES))
        return file

    def end_shard(self) -> None:
        if not self.file:
            return
        shape = (self.models[-1], *self.shape)
        tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * int(np.prod(shape))]}
        text = json.dumps({"__metadata__": {"format": "pt"}, TENSOR: tensor}).encode()
        self.file.seek(0)
        # the safetensors format: the header's length, then the header, which may be padded with spaces
        self.file.write((HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8))
        self.file.close()
        self.file = None

    def name_shards(self) -> None:
        count = len(self.models)
        if count == 1:
            self.unnamed(1).rename(paths.weights(self.zoo))
            return
        names = []
        for number in range(1, count + 1):
            path = paths.weights_shard(self.zoo, number, count)
            self.unnamed(number).rename(path)
            names.append(path.name)
        files.write_json(paths.weights_index(self.zoo), index(names, self.models, self.shape))

    def unnamed(self, number: int) -> Path:
        return paths.weights(self.zoo).with_suffix(f".{number}")


def index(names: list[str], models: list[int], shape: tuple[int, ...]) -> dict[str, Any]:
    """What the index of several files says; `shape` is [epochs, parameters]."""
    firsts = itertools.accumulate(models[:-1], initial=0)
    shards = [
        {"file": name, "first": first, "models": count}
        for name, first, count in zip(names, firsts, models, strict=True)
    ]
    return {"tensor": TENSOR, "shape": [sum(models), *shape], "shards": shards}


class Shards:
    """All states of a zoo, in a few tensors [models, epochs, parameters]."""

    def __init__(self, shards: list[Tensor]):
        self.shards = shards
        *self.firsts, models = itertools.accumulate(map(len, shards), initial=0)
        self.shape = (models, shards[0].shape[1], shards[0].shape[2])

    def state(self, model: int, epoch: int) -> Tensor:
        """A view [parameters]."""
        shard = bisect.bisect(self.firsts, model) - 1
        return self.shards[shard][model - self.firsts[shard], epoch]

    def states(self, rows: np.ndarray) -> Tensor:
        """Some states [rows, parameters], by row number: model x epochs + epoch.

        A view if they lie evenly spaced in one file (all, or the same single epoch of all models), or else a copy.
        """
        _, epochs, parameters = self.shape
        if len(self.shards) > 1:
            return self.collected(rows)
        states = self.shards[0].view(-1, parameters)
        if len(rows) > 1 and (even := evenly_spaced(rows)):
            return states[even]
        return states.index_select(0, torch.from_numpy(rows))

    def collected(self, rows: np.ndarray) -> Tensor:
        """The same of states in several tensors."""
        _, epochs, parameters = self.shape
        order = np.argsort(rows, kind="stable")
        ascending, found = rows[order], torch.empty(len(rows), parameters)
        for first, shard in zip(self.firsts, self.shards, strict=True):
            begin, end = np.searchsorted(ascending, [first * epochs, (first + len(shard)) * epochs])
            own = torch.from_numpy(ascending[begin:end] - first * epochs)
            found[torch.from_numpy(order[begin:end])] = shard.view(-1, parameters)[own]
        return found


class Weights(Shards):
    """Those of a zoo in a folder, memory-mapped: nothing is loaded before it is used, and processes share what is."""

    def __init__(self, zoo: Path):
        """Raises ZooError if a file is missing or damaged, or the files are not those that the index names."""
        path = paths.weights_index(zoo)
        saved = json_object(path) if os.path.lexists(path) else None
        names = shard_names(path, saved) if saved is not None else [paths.weights(zoo).name]
        super().__init__([map_tensor(zoo / name) for name in names])
        if saved is not None:
            if os.path.lexists(paths.weights(zoo)):
                raise damaged(path, f"there is {paths.weights(zoo).name}, too: which has the weights?")
            require_indexed(path, saved, names, self.shards)


def evenly_spaced(rows: np.ndarray) -> slice | None:
    """The slice that two rows or more are, if they are one."""
    first, second, last = int(rows[0]), int(rows[1]), int(rows[-1])
    step = second - first
    if step < 1 or last != first + step * (len(rows) - 1):
        return None
    return slice(first, last + 1, step) if (rows == np.arange(first, last + 1, step)).all() else None


def require_indexed(path: Path, saved: dict[str, Any], names: list[str], shards: list[Tensor]) -> None:
    """Raise ZooError if the index `saved` in `path` is not that of the files it names, which have these tensors."""
    if len({shard.shape[1:] for shard in shards}) > 1:
        raise damaged(path, f"its files have tensors of {[list(shard.shape) for shard in shards]}")
    true = index(names, list(map(len, shards)), tuple(shards[0].shape[1:]))
    with checking(path):
        said = [{key: shard[key] for key in ("file", "first", "models")} for shard in saved["shards"]]
        if {key: saved[key] for key in true} | {"shards": said} != true:
            raise damaged(path, "it contradicts the files that it names")


def shard_names(path: Path, saved: dict[str, Any]) -> list[str]:
    """The files that the index `saved` in `path` names: all different, and beside it."""
    with checking(path):
        names = [shard["file"] for shard in saved["shards"]]
        if not names or not all(map(is_plain_name, names)) or len(set(names)) < len(names):
            raise damaged(path, f"its files {names} are not different names of files beside it")
    return names


def map_tensor(path: Path) -> Tensor:
    """The tensor [models, epochs, parameters] of a file."""
    with reading(path), safe_open(path, framework="pt") as file:
        tensor = file.get_slice(TENSOR)  # its description alone
        dtype, shape = tensor.get_dtype(), tensor.get_shape()
        if dtype != "F32" or len(shape) != 3 or min(shape) < 1:
            raise damaged(path, f"its tensor is {dtype} {shape}, not F32 [models, epochs, parameters]")
        return file.get_tensor(TENSOR)

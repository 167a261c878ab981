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
from zoo.format.reading import damaged, is_plain_name, json_object, reading

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


class Weights:
    """Reads them, memory-mapped: nothing is loaded before it is used, and processes share what is."""

    def __init__(self, zoo: Path):
        """Raises ZooError if a file is missing or damaged, or the files are not those that the index names."""
        path = paths.weights_index(zoo)
        saved = json_object(path) if os.path.lexists(path) else None
        self.names = names = shard_names(path, saved) if saved is not None else [paths.weights(zoo).name]
        self.shards = [map_tensor(zoo / name) for name in names]
        *self.firsts, models = itertools.accumulate(map(len, self.shards), initial=0)
        self.shape = (models, *self.shards[0].shape[1:])
        if saved is not None:
            self.require_indexed(path, saved, names)

    def require_indexed(self, path: Path, saved: dict[str, Any], names: list[str]) -> None:
        """Raise ZooError if the index `saved` in `path` is not that of the files it names."""
        if os.path.lexists(paths.weights(path.parent)):
            raise damaged(path, f"there is {paths.weights(path.parent).name}, too: which has the weights?")
        if len({shard.shape[1:] for shard in self.shards}) > 1:
            raise damaged(path, f"its files have tensors of {[list(shard.shape) for shard in self.shards]}")
        true = index(names, list(map(len, self.shards)), self.shape[1:])
        with reading(path):
            said = [{key: shard[key] for key in ("file", "first", "models")} for shard in saved["shards"]]
            if {key: saved[key] for key in true} | {"shards": said} != true:
                raise damaged(path, "it contradicts the files that it names")

    def file_of(self, model: int) -> str:
        """The name of the file that has a model's states."""
        return self.names[bisect.bisect(self.firsts, model) - 1]

    def model(self, model: int) -> Tensor:
        """A view of all its states [epochs, parameters]."""
        shard = bisect.bisect(self.firsts, model) - 1
        return self.shards[shard][model - self.firsts[shard]]

    def state(self, model: int, epoch: int) -> Tensor:
        """A view [parameters]."""
        shard = bisect.bisect(self.firsts, model) - 1
        return self.shards[shard][model - self.firsts[shard], epoch]

    def states(self, rows: np.ndarray) -> Tensor:
        """Some states [rows, parameters], by ascending row number: model x epochs + epoch.

        A view if they lie evenly spaced in one file (all, or the same single epoch of all models), or else a copy.
        """
        _, epochs, parameters = self.shape
        if len(self.shards) == 1 and len(rows) > 1 and (np.diff(rows) == (step := rows[1] - rows[0])).all():
            return self.shards[0].view(-1, parameters)[rows[0] : rows[-1] + 1 : step]
        parts = []
        for first, shard in zip(self.firsts, self.shards, strict=True):
            begin, end = np.searchsorted(rows, [first * epochs, (first + len(shard)) * epochs])
            parts.append(shard.view(-1, parameters)[torch.from_numpy(rows[begin:end] - first * epochs)])
        return torch.cat(parts)


def shard_names(path: Path, saved: dict[str, Any]) -> list[str]:
    """The files that the index `saved` in `path` names: all different, and beside it."""
    with reading(path):
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

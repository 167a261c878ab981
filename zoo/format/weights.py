"""All states of a zoo as one float32 tensor `weights` [models, epochs, parameters], in safetensors files."""

import bisect
import itertools
import json
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zoo.disk import files, paths
from zoo.errors import ZooError

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
        self.file: BinaryIO

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.models:
            self.end_shard()
        if kind is None:
            self.name_shards()

    def add(self, states: Tensor) -> None:
        """The next model's states [epochs, parameters], float32; those that are missing at the end become NaN."""
        if not self.models or self.models[-1] == self.capacity:
            if self.models:
                self.end_shard()
            self.models.append(0)
            self.file = open(self.unnamed(len(self.models)), "wb")
            self.file.write(bytes(HEADER_BYTES))
        epochs, parameters = self.shape
        self.file.write(states.numpy())
        self.file.write(torch.full((epochs - len(states), parameters), torch.nan).numpy())
        self.models[-1] += 1

    def end_shard(self) -> None:
        shape = (self.models[-1], *self.shape)
        tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * int(np.prod(shape))]}
        text = json.dumps({"__metadata__": {"format": "pt"}, TENSOR: tensor}).encode()
        self.file.seek(0)
        # the safetensors format: the header's length, then the header, which may be padded with spaces
        self.file.write((HEADER_BYTES - 8).to_bytes(8, "little") + text.ljust(HEADER_BYTES - 8))
        self.file.close()

    def name_shards(self) -> None:
        count = len(self.models)
        if count == 1:
            self.unnamed(1).rename(paths.weights(self.zoo))
            return
        shards = []
        for number, (first, models) in enumerate(zip(self.firsts, self.models, strict=True), start=1):
            path = paths.weights_shard(self.zoo, number, count)
            self.unnamed(number).rename(path)
            shards.append({"file": path.name, "first": first, "models": models})
        shape = [sum(self.models), *self.shape]
        files.write_json(paths.weights_index(self.zoo), {"tensor": TENSOR, "shape": shape, "shards": shards})

    @property
    def firsts(self) -> list[int]:
        return list(itertools.accumulate(self.models[:-1], initial=0))

    def unnamed(self, number: int) -> Path:
        return paths.weights(self.zoo).with_suffix(f".{number}")


class Weights:
    """Reads them, memory-mapped: nothing is loaded before it is used, and processes share what is."""

    def __init__(self, zoo: Path):
        """Raises ZooError if a file is missing or damaged."""
        index = paths.weights_index(zoo)
        names = [shard["file"] for shard in files.read_json(index)["shards"]] if index.exists() else []
        self.shards = [map_tensor(path) for path in [zoo / name for name in names] or [paths.weights(zoo)]]
        *self.firsts, models = itertools.accumulate(map(len, self.shards), initial=0)
        self.shape = (models, *self.shards[0].shape[1:])

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


def map_tensor(path: Path) -> Tensor:
    try:
        with safe_open(path, framework="pt") as file:
            tensor = file.get_tensor(TENSOR)
    except FileNotFoundError:
        raise ZooError(f"{path} is missing: get the zoo anew, or make it by `python analyze.py`") from None
    except (SafetensorError, OSError) as error:
        raise ZooError(f"{path} is damaged ({error}): get the zoo anew, or make it by `python analyze.py`") from error
    if tensor.dim() != 3 or tensor.dtype != torch.float32:
        raise ZooError(f"{path} is damaged: its tensor is {tensor.dtype} {list(tensor.shape)}, not float32 of 3 axes")
    return tensor

"""A zoo of ours as the source of a dataset, in a folder."""

import hashlib
import mmap
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.data.images import Images
from zoo.disk import files, paths
from zoo.format import binary_tables, tables
from zoo.format.architecture import Architecture
from zoo.format.names import Names
from zoo.format.reading import checking, damaged, json_object_in, reading, require_file
from zoo.format.runs import Runs
from zoo.format.weights import Shards, Weights


class ZooSource:
    """A zoo, wherever its files are: those who derive from this say how one is read, and set `weights` first."""

    path: Path
    root: Path  # under which errors name its files
    weights: Shards

    def content(self, path: Path) -> bytes:
        """Of a file under `root`. Raises ZooError if it is missing, damaged or elsewhere."""
        raise NotImplementedError

    def buffer(self, path: Path) -> memoryview:
        """The same, mapped where that can be."""
        return memoryview(self.content(path))

    def digest(self, path: Path) -> str:
        """The sha256 of such a file."""
        return files.sha256(self.content(path))

    def has(self, path: Path) -> bool:
        """Whether there is one."""
        raise NotImplementedError

    def params(self, model: int) -> dict[str, Any]:
        raise NotImplementedError

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        raise NotImplementedError

    def require_whole(self) -> None:
        """Raise ZooError if anything contradicts the rest; of a large zoo, its tables are not yet read."""
        count, epochs, length = self.weights.shape
        if length != self.architecture.length:
            raise self.contradiction(f"a vector of {self.architecture.length} numbers in its architecture")
        self.pattern  # noqa: B018
        if count * epochs < binary_tables.LARGE:
            self.models  # noqa: B018
            self.factors  # noqa: B018

    def contradiction(self, other: str) -> Exception:
        count, epochs, length = self.weights.shape
        return damaged(self.path, f"weights of {count} models with {length} numbers each, but {other}")

    def json(self, path: Path) -> dict[str, Any]:
        return json_object_in(path, self.content(path))

    @cached_property
    def architecture(self) -> Architecture:
        path = paths.architecture(self.root)
        return Architecture.of_json(path, self.json(path))

    @cached_property
    def binary(self) -> binary_tables.Opened | None:
        """The tables of a large zoo in binary, if they are there and of these very texts; not yet checked."""
        path, (count, epochs, _) = paths.binary_tables(self.root), self.weights.shape
        if count * epochs < binary_tables.LARGE or not self.has(path):
            return None
        texts = [paths.models(self.root), paths.metrics(self.root)]
        with ThreadPoolExecutor(len(texts)) as threads:  # hashing lets other threads run
            digests = threads.map(self.digest, texts)
        return binary_tables.opened(path, self.buffer(path), *digests)

    @cached_property
    def models(self) -> pd.DataFrame:
        path, variants = paths.models(self.root), len(self.architecture.variants)
        if self.binary:
            table = tables.checked_models(self.binary.path, self.binary.table(binary_tables.MODELS), variants)
        else:
            table = tables.models_in(path, self.content(path), variants)
        self.require_outcome(table)
        return table

    def quick_models(self) -> tuple[Names, pd.DataFrame] | None:
        """The names of the nodes, and the other columns of `models` with categories for texts, where that takes less
        time. They are checked alike.
        """
        if not self.binary or "models" in vars(self):
            return None
        nodes, table = self.binary.nodes, self.binary.coded_models()
        tables.require_models(self.binary.path, table, len(self.architecture.variants))
        if len(nodes) != len(table) or not nodes.are_plain() or not nodes.are_different():
            self.models  # noqa: B018  raises what is wrong
        self.require_outcome(table)
        return nodes, table

    def require_outcome(self, models: pd.DataFrame) -> None:
        """Raise ZooError unless there is a row for each model of the weights, and it follows from the states."""
        count, epochs, _ = self.weights.shape
        if len(models) != count:
            raise self.contradiction(f"a table of {len(models)}")
        tables.require_outcome(paths.models(self.root), models, self.states, max_epochs=epochs - 1)

    @cached_property
    def states(self) -> pd.DataFrame:
        path, (count, epochs, _) = paths.metrics(self.root), self.weights.shape
        if self.binary:
            return tables.checked_states(self.binary.path, self.binary.table(binary_tables.STATES), count, epochs)
        return tables.states_in(path, self.content(path), count, epochs)

    @cached_property
    def pattern(self) -> dict[str, Any]:
        """The search pattern: each factor's values."""
        path = paths.config(self.root)
        saved = self.json(path)
        with checking(path):
            return checked_pattern(path, saved["search_pattern"])

    @cached_property
    def factors(self) -> list[str]:
        """What config.json says that varies, of which models.csv has the values."""
        hyperparameters = set(self.models) - {"id", "node", "variant", *tables.OUTCOME}
        if unknown := [factor for factor in self.pattern if factor not in hyperparameters]:
            raise damaged(paths.config(self.root), f"the factor {unknown[0]!r} is no column of models.csv")
        return list(self.pattern)

    def node(self, model: int) -> str:
        return str(self.models["node"].iat[model])

    def code(self) -> tuple[Path, bytes]:
        """The file model.py."""
        path = paths.model_source(self.root)
        return path, self.content(path)


def checked_pattern(path: Path, pattern: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(pattern, dict) or not all(isinstance(values, list) for values in pattern.values()):
        raise damaged(path, "`search_pattern` is no object of lists")
    return pattern


class ZooFolder(ZooSource):
    """A zoo as `analyze.py` makes it, or an unpacked zip of one."""

    def __init__(self, path: Path):
        self.path = self.root = path
        self.architecture  # noqa: B018  before the weights: a damaged zoo is refused for the first thing that is wrong
        self.weights = Weights(path)
        self.require_whole()

    def content(self, path: Path) -> bytes:
        with reading(path):
            return path.read_bytes()

    def buffer(self, path: Path) -> memoryview:
        with reading(path), path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def digest(self, path: Path) -> str:
        with reading(path), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def has(self, path: Path) -> bool:
        return os.path.lexists(path)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.path)

    def params(self, model: int) -> dict[str, Any]:
        return self.runs.params(self.node(model))

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        node = self.node(model)
        if not self.runs.has(node, lambda run: paths.optimizer(run, epoch)):
            return None
        return self.runs.optimizer(node, self.runs.records(node)[epoch])

    def images(self) -> Images:
        require_file(paths.images(self.path))
        return Images.load(paths.images(self.path))


def is_zoo(exists: Callable[[Path], bool], root: Path) -> bool:
    return exists(paths.models(root)) and exists(paths.config(root))


def open_folder(path: Path) -> ZooFolder | None:
    return ZooFolder(path) if is_zoo(os.path.exists, path) else None

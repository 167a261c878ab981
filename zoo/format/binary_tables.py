"""Both tables of a large zoo once more, in binary: the text of millions of rows takes seconds to parse.

A safetensors file: each column of models.csv and metrics.csv as a tensor [rows], as the text is parsed. Texts are
numbers of the different ones, which lie in a tensor of bytes: JSON, or for the names of nodes a name a line. The
metadata name the columns, and the sha256 of both texts: of other ones, this file says nothing.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save

from zoo.disk import files, paths
from zoo.format import tables
from zoo.format.names import Names
from zoo.format.reading import checking, damaged

# States, from which on a zoo has them. Without them, tables take seconds to read: so they are read when first used.
LARGE = 2**18
HEADER_BYTES = 2**20  # the longest header that is read
DTYPES = {"I64": "<i8", "I32": "<i4", "F64": "<f8", "BOOL": "?", "U8": "u1"}
MODELS, STATES = "models", "states"

TYPES = {MODELS: tables.MODEL_TYPES, STATES: tables.STATE_TYPES}

Tables = dict[str, pd.DataFrame]  # by these two names
TextColumn = Callable[[np.ndarray, list[Any], str], Any]  # makes it of places in a list of texts, these, and its type


def write(zoo: Path, epochs: int, variants: int) -> None:
    """Write the file beside the zoo's tables, if they are large; no column but such as a table of text can have."""
    if paths.metrics(zoo).stat().st_size < LARGE:  # a byte or more for each state
        return
    models = tables.read_models(paths.models(zoo), variants)
    states = tables.read_states(paths.metrics(zoo), len(models), epochs)
    if len(states) >= LARGE:
        texts = paths.models(zoo).read_bytes(), paths.metrics(zoo).read_bytes()
        content = packed({MODELS: models, STATES: states}, *texts)
        files.write(paths.binary_tables(zoo), lambda file: file.write(content))


def packed(both: Tables, models: bytes, states: bytes) -> bytes:
    """The content of the file: of the tables, and of the texts that they were read from."""
    tensors: dict[str, np.ndarray] = {}
    for name, table in both.items():
        for key in table:
            tensors |= encoded(f"{name}.{key}", table[key])
    columns = {name: {key: str(table[key].dtype) for key in table} for name, table in both.items()}
    digests = {"models_sha256": files.sha256(models), "states_sha256": files.sha256(states)}
    return bytes(save(tensors, {"columns": json.dumps(columns), **digests}))


def encoded(name: str, column: pd.Series) -> dict[str, np.ndarray]:
    if name == f"{MODELS}.node":  # all different, and without a line break
        return {f"{name}.texts": as_bytes("\n".join(column.tolist()))}
    if pd.api.types.is_numeric_dtype(column):
        return {name: np.ascontiguousarray(column.to_numpy())}
    numbers, texts = pd.factorize(column)  # -1: missing
    return {name: numbers.astype(np.int32), f"{name}.texts": as_bytes(json.dumps(list(texts)))}


def as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def unpacked(path: Path, content: memoryview, models: str, states: str) -> Tables | None:
    """The tables in the content of the file at `path`, as views of it where they are numbers.

    None if they are of other texts than those with these sha256.

    They may hold anything: check them as those that are parsed. Raises ZooError if the file is damaged.
    """
    found = opened(path, content, models, states)
    return None if found is None else {name: found.table(name) for name in (MODELS, STATES)}


@dataclass(frozen=True)
class Opened:
    """The file's content, of which tables are made when they are asked for. Raises ZooError where it is damaged."""

    path: Path
    tensors: dict[str, np.ndarray]
    columns: dict[str, dict[str, str]]  # of each table, and their types

    def table(self, name: str) -> pd.DataFrame:
        with checking(self.path):
            return table(self.path, self.tensors, name, self.columns[name], taken)

    def coded_models(self) -> pd.DataFrame:
        """The table of models, with categories for texts and without the nodes: that takes no time."""
        with checking(self.path):
            columns = {key: dtype for key, dtype in self.columns[MODELS].items() if key != "node"}
            return table(self.path, self.tensors, MODELS, columns, coded)

    @cached_property
    def nodes(self) -> Names:
        with checking(self.path):
            return Names(self.tensors[f"{MODELS}.node.texts"])


def opened(path: Path, content: memoryview, models: str, states: str) -> Opened | None:
    """The content of the file at `path`; see `unpacked`."""
    with checking(path):
        length = int.from_bytes(content[:8], "little")
        header = json.loads(bytes(content[8 : 8 + min(length, HEADER_BYTES)]))
        said = header.pop("__metadata__")
        if (said["models_sha256"], said["states_sha256"]) != (models, states):
            return None
        tensors = {name: tensor(content, 8 + length, entry) for name, entry in header.items()}
        columns = json.loads(said["columns"])
        for name, types in TYPES.items():
            for key, kind in types.items():
                if columns[name][key] != str(pd.Series([], dtype=kind).dtype):
                    raise damaged(path, f"its column {key!r} of {name} is {columns[name][key]}")
        return Opened(path, tensors, columns)


def tensor(content: memoryview, start: int, entry: Mapping[str, Any]) -> np.ndarray:
    """One of the file's, all of which have a single axis; raises whatever is wrong."""
    (first, last), dtype = entry["data_offsets"], np.dtype(DTYPES[entry["dtype"]])
    [count] = entry["shape"]
    if not 0 <= first <= last <= len(content) - start or last - first != count * dtype.itemsize:
        raise ValueError("a column does not lie within the file")
    return np.frombuffer(content, dtype, count, start + first)


def table(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    name: str,
    columns: Mapping[str, str],
    as_column: TextColumn,
) -> pd.DataFrame:
    found = pd.DataFrame(
        {key: decoded(tensors, f"{name}.{key}", dtype, as_column) for key, dtype in columns.items()}, copy=False
    )
    for key in TYPES[name].keys() & columns.keys():
        if columns[key] != "str" and found[key].dtype != columns[key]:
            raise damaged(path, f"its column {key!r} of {name} is {found[key].dtype}")
    return found


def decoded(tensors: Mapping[str, np.ndarray], name: str, dtype: str, as_column: TextColumn) -> Any:
    """A column of numbers or truth values, or of texts; `object`: of such as differ in kind, or are missing."""
    if name == f"{MODELS}.node":
        return pd.array(tensors[f"{name}.texts"].tobytes().decode().split("\n"), dtype="str")
    if dtype not in ("str", "object"):
        return tensors[name]
    texts = json.loads(tensors[f"{name}.texts"].tobytes())
    if not all(value is None or isinstance(value, str | bool | int | float) for value in texts):
        raise ValueError("a text is none")
    return as_column(tensors[name], texts, dtype)


def taken(numbers: np.ndarray, texts: list[Any], dtype: str) -> Any:
    """The texts as a column of this type."""
    return pd.Series(texts, dtype=dtype).array.take(numbers, allow_fill=True)


def coded(numbers: np.ndarray, texts: list[Any], dtype: str) -> Any:
    """The texts as categories."""
    return pd.Categorical.from_codes(numbers, pd.Index(texts, dtype=object))

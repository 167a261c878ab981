"""Both tables of a large zoo once more, in binary: the text of millions of rows takes seconds to parse.

A safetensors file: each column of models.csv and metrics.csv as a tensor [rows], as the text is parsed. Texts are
numbers of the different ones, which lie in a tensor of bytes: JSON, or for the names of nodes a name a line. The
metadata name the columns, and the sha256 of both texts: of other ones, this file says nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import save

from zoo.disk import files, paths
from zoo.format import tables
from zoo.format.reading import checking, damaged

# States, from which on a zoo has them. Without them, tables take seconds to read: so they are read when first used.
LARGE = 2**18
HEADER_BYTES = 2**20  # the longest header that is read
DTYPES = {"I64": "<i8", "I32": "<i4", "F64": "<f8", "BOOL": "?", "U8": "u1"}
MODELS, STATES = "models", "states"

Tables = dict[str, pd.DataFrame]  # by these two names


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
    with checking(path):
        length = int.from_bytes(content[:8], "little")
        header = json.loads(bytes(content[8 : 8 + min(length, HEADER_BYTES)]))
        said = header.pop("__metadata__")
        if (said["models_sha256"], said["states_sha256"]) != (models, states):
            return None
        tensors = {name: tensor(content, 8 + length, entry) for name, entry in header.items()}
        columns = json.loads(said["columns"])
        return {name: table(path, tensors, name, columns[name]) for name in (MODELS, STATES)}


def tensor(content: memoryview, start: int, entry: Mapping[str, Any]) -> np.ndarray:
    """One of the file's, all of which have a single axis; raises whatever is wrong."""
    (first, last), dtype = entry["data_offsets"], np.dtype(DTYPES[entry["dtype"]])
    [count] = entry["shape"]
    if not 0 <= first <= last <= len(content) - start or last - first != count * dtype.itemsize:
        raise ValueError("a column does not lie within the file")
    return np.frombuffer(content, dtype, count, start + first)


def table(path: Path, tensors: Mapping[str, np.ndarray], name: str, columns: Mapping[str, str]) -> pd.DataFrame:
    found = pd.DataFrame({key: decoded(tensors, f"{name}.{key}", dtype) for key, dtype in columns.items()}, copy=False)
    for key, kind in (tables.MODEL_TYPES if name == MODELS else tables.STATE_TYPES).items():
        if found[key].dtype != pd.Series([], dtype=kind).dtype:
            raise damaged(path, f"its column {key!r} of {name} is {found[key].dtype}")
    return found


def decoded(tensors: Mapping[str, np.ndarray], name: str, dtype: str) -> Any:
    """A column of numbers or truth values, or of texts; `object`: of such as differ in kind, or are missing."""
    if name == f"{MODELS}.node":
        return pd.array(tensors[f"{name}.texts"].tobytes().decode().split("\n"), dtype="str")
    if dtype not in ("str", "object"):
        return tensors[name]
    texts = json.loads(tensors[f"{name}.texts"].tobytes())
    if not all(value is None or isinstance(value, str | bool | int | float) for value in texts):
        raise ValueError("a text is none")
    values = pd.Series(texts, dtype=dtype).array
    return values.take(tensors[name], allow_fill=True)

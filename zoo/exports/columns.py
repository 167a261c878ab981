"""The properties of states as arrays, for formats that hold a table beside the weights."""

from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.exports import canonical
from zoo.exports.content import Content
from zoo.format.reading import is_plain_name

RESERVED = {"weights", "split", "layout"}


def columns(content: Content) -> dict[str, np.ndarray]:
    """Every property as an array [states]: of numbers, or of text. What a model doesn't have is NaN, or ''."""
    if wrong := [key for key in content.states if key in RESERVED or not is_plain_name(key)]:
        raise ZooError(f"{content.zoo} has a column {wrong[0]!r}, which no array can be called in such an export")
    return {
        key: column.to_numpy(dtype=str if column.dtype.kind in "OUT" else column.dtype)
        for key, column in content.states.items()
    }


def layout(content: Content) -> list[dict[str, Any]]:
    """How a vector falls into tensors: name, shape and place of each, as in architecture.json."""
    architecture = content.architecture
    return [
        {"name": key, "shape": entry.shape, "start": entry.start, "length": entry.length}
        for key, entry in zip(canonical.keys(architecture, 0), architecture.tensors, strict=True)
    ]

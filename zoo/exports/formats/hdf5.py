"""One HDF5 file: the weights of all states, their properties, and how a vector falls into tensors."""

import json
from pathlib import Path

import h5py
import numpy as np

from zoo.exports.columns import columns, layout
from zoo.exports.content import Content
from zoo.exports.format import Format, Options

FILE = "zoo.h5"
CHUNK_BYTES = 2**18  # of weights that are read together


def write(content: Content, folder: Path, options: Options) -> None:
    with h5py.File(folder / FILE, "w") as file:
        write_weights(content, file)
        for key, array in {**columns(content), "split": content.splits.astype(str)}.items():
            file[f"properties/{key}"] = array.astype(h5py.string_dtype()) if array.dtype.kind == "U" else array
        file.attrs["layout"] = json.dumps(layout(content))
        file.attrs["factors"] = content.dataset.factors


def write_weights(content: Content, file: h5py.File) -> None:
    shape = (len(content), content.architecture.length)
    states = min(shape[0], max(1, CHUNK_BYTES // (4 * shape[1])))
    weights = file.create_dataset("weights", shape, np.float32, chunks=(states, shape[1]))
    for rows in content.shown_pieces():
        weights[rows[0] : rows[-1] + 1] = content.weights(rows)


FORMAT = Format(write, epochs="all")

"""NumPy alone: the weights of all states, and every column of their properties, as arrays in one file."""

import json
import zipfile
from pathlib import Path

import numpy as np

from zoo.exports.columns import columns, layout
from zoo.exports.content import Content
from zoo.exports.format import Format, Options

FILE = "zoo.npz"


def write(content: Content, folder: Path, options: Options) -> None:
    arrays = {**columns(content), "split": content.splits.astype(str), "layout": np.array(json.dumps(layout(content)))}
    with zipfile.ZipFile(folder / FILE, "w") as archive:
        write_weights(content, archive)
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def write_weights(content: Content, archive: zipfile.ZipFile) -> None:
    """Piece by piece, as numpy.savez can't: it wants them all in memory."""
    shape = (len(content), content.architecture.length)
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with archive.open("weights.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for rows in content.shown_pieces():
            file.write(np.ascontiguousarray(content.weights(rows), "<f4").data)


FORMAT = Format(write, epochs="all")

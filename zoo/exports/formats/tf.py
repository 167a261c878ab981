"""TFRecords, which `zoo.tensorflow.dataset` reads: an example per state, a file or more per split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from zoo.dataset.dataset import SPLITS
from zoo.disk import files, paths
from zoo.exports.columns import columns, layout
from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.exports.records import Feature, example, record

FILE_BYTES = 2**27  # of weights in a file, as TensorFlow's guide has it
KINDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "b": ("int", int),
    "i": ("int", int),
    "f": ("float", float),
    "U": ("byte", str.encode),
}


def write(content: Content, folder: Path, options: Options) -> None:
    properties = columns(content)
    size = max(1, FILE_BYTES // (4 * content.architecture.length))
    with tqdm(total=len(content), desc="exporting", unit="state") as progress:
        for split in SPLITS:
            rows = np.flatnonzero(content.splits == split)
            for number, first in enumerate(range(0, len(rows), size)):
                path = paths.records_of_split(folder, split, number, -(-len(rows) // size))
                write_file(content, path, properties, rows[first : first + size], progress)
    kinds = {key: KINDS[array.dtype.kind][0] for key, array in properties.items()}
    described = {"parameters": content.architecture.length, "properties": kinds, "layout": layout(content)}
    files.write_json(paths.features(folder), described)


def write_file(
    content: Content, path: Path, properties: dict[str, np.ndarray], rows: np.ndarray, progress: tqdm
) -> None:
    with open(path, "wb") as file:
        for piece in content.pieces(rows):
            for row, vector in zip(piece, content.weights(piece), strict=True):
                file.write(record(example(features(vector, properties, row))))
                progress.update()


def features(vector: np.ndarray, properties: dict[str, np.ndarray], row: int) -> dict[str, Feature]:
    """Weights as their bytes, which are read ten times as fast as a list of floats; each property as one value."""
    made: dict[str, Feature] = {"weights": vector.astype("<f4").tobytes()}
    for key, column in properties.items():
        made[f"property/{key}"] = KINDS[column.dtype.kind][1](column[row])
    return made


FORMAT = Format(write, epochs="all")

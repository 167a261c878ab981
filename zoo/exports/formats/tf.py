"""TFRecords, which `zoo.tensorflow.dataset` reads: an example per state, a file or more per split."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tfrecord import TFRecordWriter
from tqdm import tqdm

from zoo.dataset.dataset import SPLITS
from zoo.disk import files, paths
from zoo.exports.columns import columns, layout
from zoo.exports.content import Content
from zoo.exports.format import Format, Options

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
    features = {key: KINDS[array.dtype.kind][0] for key, array in properties.items()}
    described = {"parameters": content.architecture.length, "properties": features, "layout": layout(content)}
    files.write_json(paths.features(folder), described)


def write_file(
    content: Content, path: Path, properties: dict[str, np.ndarray], rows: np.ndarray, progress: tqdm
) -> None:
    writer = TFRecordWriter(str(path))
    try:
        for piece in content.pieces(rows):
            for row, vector in zip(piece, content.weights(piece), strict=True):
                writer.write(example(vector, {key: array[row] for key, array in properties.items()}))
                progress.update()
    finally:
        writer.close()


def example(vector: np.ndarray, properties: dict[str, Any]) -> dict[str, tuple[Any, str]]:
    """As TFRecordWriter takes it; weights as their bytes, which are read ten times as fast as a list of floats."""
    made: dict[str, tuple[Any, str]] = {"weights": (vector.astype("<f4").tobytes(), "byte")}
    for key, value in properties.items():
        kind, plain = KINDS[value.dtype.kind]
        made[f"property/{key}"] = (plain(value), kind)
    return made


FORMAT = Format(write, epochs="all")

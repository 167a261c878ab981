"""Parquet, as Hugging Face `datasets` opens it: a row per state with its weights, a file or more per split."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from zoo.dataset.dataset import SPLITS
from zoo.disk import files, paths
from zoo.exports.columns import layout
from zoo.exports.content import Content
from zoo.exports.format import Format, Options

MODELS = "models.parquet"
NAMES = {"train": "train", "val": "validation", "test": "test"}  # of splits there
FILE_BYTES = 2**29  # of weights in a file; 50 GB is the most that a repository takes

CARD = """---
configs:
- config_name: states
  default: true
  data_files:
{splits}
- config_name: models
  data_files: {models}
---
"""


def write(content: Content, folder: Path, options: Options) -> None:
    there = [split for split in SPLITS if (content.splits == split).any()]
    with tqdm(total=len(content), desc="exporting", unit="state") as progress:
        for split in there:
            write_split(content, folder, split, progress)
    pq.write_table(pa.Table.from_pandas(content.models, preserve_index=False), folder / MODELS)
    splits = "\n".join(f"  - split: {NAMES[split]}\n    path: data/{NAMES[split]}-*.parquet" for split in there)
    files.write_text(paths.readme(folder), CARD.format(splits=splits, models=MODELS))


def write_split(content: Content, folder: Path, split: str, progress: tqdm) -> None:
    rows = np.flatnonzero(content.splits == split)
    size = max(1, FILE_BYTES // (4 * content.architecture.length))
    parts = [rows[first : first + size] for first in range(0, len(rows), size)]
    for number, part in enumerate(parts):
        path = folder / "data" / f"{NAMES[split]}-{number:05d}-of-{len(parts):05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(path, schema(content)) as file:
            for batch in batches(content, part):
                file.write_batch(batch)
                progress.update(len(batch))


def schema(content: Content) -> pa.Schema:
    properties = pa.Schema.from_pandas(content.states, preserve_index=False).remove_metadata()
    weights = pa.field("weights", pa.list_(pa.float32(), content.architecture.length))
    return properties.append(weights).with_metadata({"layout": json.dumps(layout(content))})


def batches(content: Content, rows: np.ndarray) -> Iterator[pa.RecordBatch]:
    wanted = schema(content)
    for piece in content.pieces(rows):
        table = pa.RecordBatch.from_pandas(content.states.iloc[piece], preserve_index=False)
        numbers = pa.array(content.weights(piece).ravel())
        weights = pa.FixedSizeListArray.from_arrays(numbers, content.architecture.length)
        yield pa.RecordBatch.from_arrays([*table.columns, weights], schema=wanted)


FORMAT = Format(write, epochs="all")

"""Trajectories as NiNo reads them: half-precision arrays [models, states, ...] to be memory-mapped."""

from pathlib import Path

import numpy as np
import pandas as pd

from zoo.disk import files
from zoo.errors import ZooError
from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.format import tables

STATES, METRICS, SHAPE, MODELS = "trajectories.dat", "trajectories_metrics.dat", "trajectories.json", "models.csv"
MEASURED = ["test_loss", "test_acc", "train_loss", "train_acc"]  # in this order
LARGEST = float(np.finfo(np.float16).max)


def write(content: Content, folder: Path, options: Options) -> None:
    keep_whole(content)
    epochs = sorted(content.states["epoch"].unique().tolist())
    with open(folder / STATES, "wb") as file:
        for rows in content.shown_pieces():
            file.write(content.weights(rows).astype(np.float16).data)
    (folder / METRICS).write_bytes(content.states[MEASURED].to_numpy(np.float16).tobytes())
    shape = [len(content) // len(epochs), len(epochs), content.architecture.length]
    files.write_json(folder / SHAPE, {"dtype": "float16", "shape": shape, "metrics": MEASURED, "epochs": epochs})
    tables.write(folder / MODELS, content.models)


def keep_whole(content: Content) -> None:
    """Keep the models that have all the epochs, with weights that half precision can hold. Raises ZooError if none."""
    held = [np.abs(content.weights(rows)).max(axis=1) <= LARGEST for rows in content.pieces()]
    counts = pd.Series(np.concatenate(held)).groupby(content.states["id"]).transform("sum")
    if not (whole := counts == content.states["epoch"].nunique()).any():
        raise ZooError(f"{content.zoo} has no model with all epochs, and weights that float16 can hold")
    content.narrow(whole)


FORMAT = Format(write, epochs="all")

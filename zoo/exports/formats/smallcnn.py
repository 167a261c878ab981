"""The matrix of the Small CNN Zoo (Unterthiner et al. 2020): NFN, neural-graphs, ScaleGMN, Monomial-NFN, ProbeGen."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.exports.layers import Layer, chain

WEIGHTS, METRICS, LAYOUT, SPLIT = "weights.npy", "metrics.csv.gz", "layout.csv", "split.csv"
FINAL = 86  # the step of a finished model: readers take no other

# What the zoo's own columns are called there.
CONFIG = {
    "data": "config.dataset",
    "model": "config.dnn_architecture",
    "model.activation": "config.activation",
    "model.dropout": "config.dropout",
    "init": "config.w_init",
    "optim": "config.optimizer",
    "optim.lr": "config.learning_rate",
    "optim.weight_decay": "config.l2reg",
    "seed": "config.random_seed",
    "data.train_fraction": "config.train_fraction",
}
MEASURED = {
    "train_acc": "train_accuracy",
    "test_acc": "test_accuracy",
    "train_loss": "train_loss",
    "test_loss": "test_loss",
}


def write(content: Content, out: Path, options: Options) -> None:
    layers = chain(content.architecture, "smallcnn")
    order = write_layout(out / LAYOUT, layers)
    shape = (len(content), len(order))
    weights = np.lib.format.open_memmap(out / WEIGHTS, mode="w+", dtype=np.float32, shape=shape)
    for rows in content.shown_pieces():
        weights[rows] = content.weights(rows)[:, order]
    weights.flush()
    metrics(content, layers).to_csv(out / METRICS, index=False, compression={"method": "gzip", "mtime": 1})
    np.savetxt(out / SPLIT, shuffled(content.states["node"]), fmt="%d")


def write_layout(path: Path, layers: Sequence[Layer]) -> np.ndarray:
    """Write where each tensor lies in a row; returns the place [parameters] in our vector of each number of it.

    A layer's bias comes before its kernel, whose axes are TensorFlow's: (height, width, in, out), or (in, out). There
    the inputs of a linear layer that follows a flattened map are sorted by position, then by channel.
    """
    rows, places, counts = [], [], {"conv2d": 0, "dense": 0}
    start = 0
    for layer in layers:
        kind = "conv2d" if layer.is_convolution else "dense"
        number = counts[kind]
        counts[kind] += 1
        name = f"sequential/{kind}_{number}" if number else f"sequential/{kind}"
        for variable, place in (("bias", bias_places(layer)), ("kernel", kernel_places(layer))):
            rows.append((f"{name}/{variable}:0", start, start + place.size, place.size, place.shape))
            places.append(place.ravel())
            start += place.size
    pd.DataFrame(rows, columns=["varname", "start_idx", "end_idx", "size", "shape"]).to_csv(path, index=False)
    return np.concatenate(places)


def bias_places(layer: Layer) -> np.ndarray:
    return layer.bias.start + np.arange(layer.bias.length)


def kernel_places(layer: Layer) -> np.ndarray:
    ours = layer.weight.start + np.arange(layer.weight.length)
    if layer.is_convolution:
        return ours.reshape(layer.weight.shape).transpose(2, 3, 1, 0)
    by_channel = ours.reshape(layer.outputs, -1, layer.positions)  # outputs, channels, positions
    return by_channel.transpose(2, 1, 0).reshape(-1, layer.outputs)


def metrics(content: Content, layers: Sequence[Layer]) -> pd.DataFrame:
    """A row per state: metrics, hyperparameters, and what the architecture says."""
    states = content.states
    table = states[list(MEASURED)].rename(columns=MEASURED)
    table.insert(0, "step", steps(states["epoch"].to_numpy(), content.max_epochs))
    table["epoch"], table["modeldir"] = states["epoch"], states["node"]
    for ours, theirs in CONFIG.items():
        if ours in states:
            table[theirs] = states[ours]
    convolutions = [layer for layer in layers if layer.is_convolution]
    table["config.epochs"] = content.max_epochs
    table["config.epochs_between_checkpoints"] = 1
    table["config.num_layers"] = len(convolutions)
    table["config.num_units"] = convolutions[0].outputs if convolutions else 0
    return table


def steps(epochs: np.ndarray, max_epochs: int) -> np.ndarray:
    """Epochs in 86ths of the training, so that the last one's states, and no others, are those that are read."""
    return np.where(epochs == max_epochs, FINAL, np.minimum(np.rint(epochs * FINAL / max_epochs), FINAL - 1)).astype(
        int
    )


def shuffled(nodes: pd.Series) -> np.ndarray:
    """The rows, shuffled by the names of their models alone; a model's stay together."""
    digests = nodes.map(lambda node: hashlib.sha256(node.encode()).hexdigest())
    return np.argsort(digests.to_numpy(dtype=str), kind="stable")


FORMAT = Format(write, epochs="all")

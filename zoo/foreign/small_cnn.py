"""The matrix of the Small CNN Zoo (Unterthiner et al. 2020): every state a row of one file.

    weights.npy       float32 [rows, numbers]
    metrics.csv.gz    a row for each of its rows
    layout.csv        where each tensor lies in a row: varname, start_idx, end_idx, shape

Models are the rows of one `modeldir`. They have few of their epochs (0, 1, 2, 3, 20, 40, 60, 80, 86), so that the axis
of epochs counts these checkpoints; the column `step` of the table of states has the epochs. Tensors are TensorFlow's:
their axes are turned, and weights put before biases, as PyTorch has them.
"""

import ast
import csv
import gzip
import io
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.errors import ZooError, one_line
from zoo.foreign.container import TEXT, Folder
from zoo.foreign.known import Choice, architecture_of, choice_of, inferred
from zoo.foreign.population import Params, Population, Record, natural, number
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.reading import is_plain_name

WEIGHTS, METRICS, LAYOUT = "weights.npy", "metrics.csv.gz", "layout.csv"
LARGEST, LARGEST_MATRIX = 2**30, 2**40  # bytes of the table of metrics, unpacked, and of the matrix
STEP, MODEL = "step", "modeldir"
PREFIX = "config."

# What the columns are called here; others keep their names, without the prefix.
TYPED = {
    "activation": "model.activation",
    "dropout": "model.dropout",
    "w_init": "init",
    "optimizer": "optim",
    "learning_rate": "optim.lr",
    "l2reg": "l2",
    "dataset": "data",
    "random_seed": "seed",
    "epochs": "trainer.max_epochs",
}
INITS = {
    **{"glorot_normal": "xavier_normal", "GlorotNormal": "xavier_normal"},
    **{"he_normal": "kaiming_normal", "HeNormal": "kaiming_normal", "RandomNormal": "normal"},
}
METRIC_COLUMNS = {
    "train_loss": "train_loss",
    "train_acc": "train_accuracy",
    "test_loss": "test_loss",
    "test_acc": "test_accuracy",
}

ABOUT = """\
The models were trained elsewhere, by TensorFlow, and are those of a Small CNN Zoo matrix (Unterthiner et al. 2020,
arXiv:2002.11448). Few states of each were kept: `epoch` counts them, and the column `step` of `metrics.csv` has the
epochs that they are of. The axes of their tensors are PyTorch's here. Its images are not in it."""


@dataclass(frozen=True)
class Variable:
    """A tensor as TensorFlow has it in a row."""

    layer: str
    start: int
    shape: tuple[int, ...]

    @property
    def is_kernel(self) -> bool:
        return len(self.shape) > 1

    def places(self) -> np.ndarray:
        """Where in a row the numbers of PyTorch's tensor lie, in that tensor's shape."""
        numbers = np.arange(self.start, self.start + math.prod(self.shape)).reshape(self.shape)
        return numbers.transpose(AXES[len(self.shape)])


# TensorFlow's axes in PyTorch's order: (height, width, in, out) -> (out, in, height, width), (in, out) -> (out, in)
AXES = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}


def open_small_cnn(path: Path) -> "SmallCNN | None":
    """A folder with such a matrix; None of anything else."""
    if path.is_dir() and all((path / name).exists() for name in (WEIGHTS, METRICS, LAYOUT)):
        return SmallCNN(path)
    return None


class SmallCNN(Population):
    kind = "small_cnn"
    others = (STEP,)
    about = ABOUT

    def __init__(self, path: Path):
        self.path, self.files, self.missing = path, Folder(path), {}
        self.matrix = self.read_matrix()
        variables = self.read_layout()
        ordered = [tensor for layer in by_layer(variables) for tensor in layer]
        self.places = np.concatenate([tensor.places().ravel() for tensor in ordered])
        state = dict(zip(keys(variables), (torch.empty(t.places().shape, device="meta") for t in ordered), strict=True))
        self.describe(state)
        self.table = self.read_metrics()
        self.order = rows_by_model(self.table)
        self.nodes = node_names(self.order)
        self.steps = sorted(self.table[STEP].unique().tolist())
        self.epochs = len(self.steps)

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes map the file anew."""
        return type(self), (self.path,)

    def damaged(self, name: str, why: object) -> ZooError:
        return ZooError(f"{self.path / name} is damaged ({one_line(ValueError(why))[:300]}): get it anew")

    def read_matrix(self) -> np.ndarray:
        """float32 [rows, numbers], memory-mapped."""
        path = self.files.own(WEIGHTS, LARGEST_MATRIX)
        try:
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # whatever the bytes lead to
            raise self.damaged(WEIGHTS, error) from error
        if matrix.ndim != 2 or matrix.dtype != np.float32 or 0 in matrix.shape:
            raise self.damaged(WEIGHTS, f"its matrix is {matrix.dtype} {matrix.shape}, not float32 [rows, numbers]")
        return matrix

    def read_layout(self) -> list[Variable]:
        try:
            table = list(csv.DictReader(io.StringIO(self.files.read(LAYOUT, TEXT).decode())))
            found = [variable(row) for row in table]
        except ZooError:
            raise
        except Exception as error:  # any cell may be anything
            raise self.damaged(LAYOUT, f"{type(error).__name__}: {error}") from error
        place = 0
        for tensor in found:
            if tensor.start != place or len(tensor.shape) not in AXES:
                raise self.damaged(LAYOUT, f"{tensor.layer} has the shape {tensor.shape} and starts at {tensor.start}")
            place += math.prod(tensor.shape)
        if not found or place != self.matrix.shape[1]:
            raise self.damaged(LAYOUT, f"its tensors fill {place} places of {self.matrix.shape[1]}")
        if wrong := [layer for layer in by_layer(found) if [t.is_kernel for t in layer] not in ([True], [True, False])]:
            raise self.damaged(LAYOUT, f"{wrong[0][0].layer} is no kernel, or one with its bias")
        return found

    def describe(self, state: dict[str, Tensor]) -> None:
        """The architecture: the class that the consumers of this format assume, or else layers without a class."""
        self.known: Choice | None = choice_of("cnn_strided", state)
        architecture = built_by_shape(self.known, state)
        if architecture is None:
            self.known, architecture = None, inferred(state, "Model")
        self.choice, self.architecture = self.known, architecture

    def read_metrics(self) -> pd.DataFrame:
        """A row for each of the matrix."""
        path = self.files.own(METRICS, LARGEST)
        try:
            with gzip.open(path) as file:
                content = file.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
            table = pd.read_csv(io.BytesIO(content), low_memory=False)
            if lacking := {STEP, "test_accuracy"} - set(table):
                raise ValueError(f"it lacks the columns {', '.join(sorted(lacking))}")
            if len(table) != len(self.matrix):
                raise ValueError(f"it has {len(table)} rows, the matrix {len(self.matrix)}")
            if table[STEP].dtype.kind not in "iu" or table[STEP].min() < 0:
                raise ValueError(f"its column {STEP} has more than whole numbers")
            for column in METRIC_COLUMNS.values():
                if column in table and table[column].dtype.kind not in "iuf":
                    raise ValueError(f"its column {column} has more than numbers")
            return table
        except Exception as error:  # parsers raise whatever the bytes lead them to
            raise self.damaged(METRICS, error) from error

    def params(self, model: int) -> Params:
        row = self.table.iloc[self.rows(model)[0]]
        values = {key.removeprefix(PREFIX): plain(value) for key, value in row.items() if str(key).startswith(PREFIX)}
        own = {name: values[key] for key, name in TYPED.items() if values.get(key) is not None}
        if own.get("init") in INITS:
            own["init"] = INITS[own["init"]]
        choice = self.known and self.known | {
            key: own[f"model.{key}"] for key in ("activation", "dropout") if f"model.{key}" in own
        }
        kept = {key: value for key, value in values.items() if key not in TYPED and value is not None}
        name = {"model": choice["name"]} if choice else {}
        config = {"config": {"model": choice}} if choice else {"config": {}}
        return {**kept, **name, **own, "node": self.nodes[model], **config}

    def variant(self, model: int) -> int:
        return 0

    def rows(self, model: int) -> list[int]:
        """Of the matrix, in the order of their steps."""
        return self.row_lists[model]

    @cached_property
    def row_lists(self) -> list[list[int]]:
        return list(self.order.values())

    @cached_property
    def epoch_of(self) -> dict[int, int]:
        return {step: epoch for epoch, step in enumerate(self.steps)}

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        names = {key: column for key, column in METRIC_COLUMNS.items() if column in self.table}
        return {STEP: self.table[STEP].tolist(), **{key: self.table[name].tolist() for key, name in names.items()}}

    def kept(self, model: int) -> list[int]:
        return [self.epoch_of[self.columns[STEP][row]] for row in self.rows(model)]

    def history(self, model: int) -> dict[int, Record]:
        return dict(zip(self.kept(model), map(self.record, self.rows(model)), strict=True))

    def record(self, row: int) -> Record:
        try:
            values = {key: number(column[row], key) for key, column in self.columns.items()}
        except ValueError as error:
            raise self.damaged(METRICS, f"row {row}: {error}") from error
        lost = any(self.columns[key][row] != self.columns[key][row] for key in ("train_loss",) if key in self.columns)
        return dict.fromkeys(tables.LOSSES_AND_ACCURACIES) | values | {"diverged": lost}

    def vector(self, model: int, epoch: int) -> np.ndarray:
        row = self.rows(model)[self.kept(model).index(epoch)]
        return np.asarray(self.matrix[row])[self.places]


def variable(row: dict[str, str]) -> Variable:
    """A row of layout.csv. Raises KeyError, ValueError or TypeError if it isn't one."""
    shape = ast.literal_eval(row["shape"])
    layer, _, name = row["varname"].rpartition("/")
    shape = shape if isinstance(shape, tuple) else (shape,)
    if not all(type(size) is int and 0 < size < 2**31 for size in shape) or name not in ("kernel:0", "bias:0"):
        raise ValueError(f"{row['varname']} is no kernel:0 or bias:0, or has no shape")
    if int(row["end_idx"]) - int(row["start_idx"]) != math.prod(shape):
        raise ValueError(f"{row['varname']} does not fill its places")
    return Variable(layer, int(row["start_idx"]), shape)


def by_layer(variables: list[Variable]) -> list[list[Variable]]:
    """Of each layer, the kernel and then the bias."""
    layers = dict.fromkeys(tensor.layer for tensor in variables)
    return [
        sorted((tensor for tensor in variables if tensor.layer == layer), key=lambda tensor: not tensor.is_kernel)
        for layer in layers
    ]


def keys(variables: list[Variable]) -> list[str]:
    """Of a state dict, where no class is known."""
    return [
        f"layers.{place}.{'weight' if tensor.is_kernel else 'bias'}"
        for place, layer in enumerate(by_layer(variables))
        for tensor in layer
    ]


def built_by_shape(choice: Choice, state: dict[str, Tensor]) -> Architecture | None:
    """The architecture of a choice if its tensors have the shapes of the state's, whatever these are called."""
    own = architecture_of(choice)
    same = own and [entry.shape for entry in own.tensors] == [list(value.shape) for value in state.values()]
    return own if same else None


def rows_by_model(table: pd.DataFrame) -> dict[str, list[int]]:
    """The rows of each model, by its modeldir, in the order of their steps; without that, each row is a model."""
    if MODEL not in table:
        return {str(row): [row] for row in range(len(table))}
    ordered = table[[MODEL, STEP]].astype({MODEL: str}).sort_values([STEP], kind="stable").drop_duplicates()
    found = {str(model): rows.index.tolist() for model, rows in ordered.groupby(MODEL)}
    return {model: found[model] for model in sorted(found, key=natural)}


def node_names(models: dict[str, list[int]]) -> list[str]:
    """The last part of each modeldir where these are plain and different, or else numbers."""
    names = [model.rstrip("/").rpartition("/")[2] for model in models]
    if all(map(is_plain_name, names)) and len(set(names)) == len(names):
        return names
    return [f"model_{number:06d}" for number in range(len(models))]


def plain(value: Any) -> Any:
    """A cell as JSON has it; None where it is empty."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value

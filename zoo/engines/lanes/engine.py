"""Trains and evaluates a population of small networks on one core, one model per lane of the vector registers.

A model's result depends on its own weights, data order, dropout key and hyperparameters and nothing else: alone, or
among any others, in any order, it is the same bit for bit on the same machine and instruction set.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from zoo.engines.lanes import library
from zoo.engines.lanes.layers import Plan, plan

Array: TypeAlias = np.ndarray | Tensor

STATE = {
    "adam": {"exp_avg": "first", "exp_avg_sq": "second"},
    "sgd": {"momentum_buffer": "first"},
    "rmsprop": {"square_avg": "second", "momentum_buffer": "first"},
}
"""The optimizers, with PyTorch's names of their averages and where the kernels keep them (`State` in src/numbers.h)."""

DEVIATIONS = 6.0
"""Of the rounding error, as estimated: on trained and untrained networks the largest error was 0.04 to 1.4 of one."""


class Training(NamedTuple):
    """What an epoch's own steps found for each model, with their dropout: mean loss and right predictions."""

    loss: np.ndarray
    correct: np.ndarray


class Evaluation(NamedTuple):
    """What `Engine.evaluate` finds for each model.

    tie_tolerance [models, images] is by how much rounding may have changed the difference of an image's two largest
    logits; near_ties are the images where these differ by less, so that rounding may decide: their positions,
    ascending. near_tie_logits has a number for each of them that is the same where the logits are. correct counts the
    right predictions on all other images, where any computation finds the same.
    """

    loss: np.ndarray
    correct: np.ndarray
    tie_tolerance: np.ndarray
    near_ties: list[np.ndarray]
    near_tie_logits: list[np.ndarray]


def _pointer(array: np.ndarray, kind: type) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))


def _firsts(rows: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Copies of as many of each row's numbers as are counted."""
    return [row[:count].copy() for row, count in zip(rows, counts, strict=True)]


def _address(array: np.ndarray | None) -> int | None:
    """For a member of a structure, which does not keep the array alive."""
    return None if array is None else array.ctypes.data


class Engine:
    """`models` networks of the given layers on images [c, h, w], and their optimizer.

    lr, weight_decay and momentum are a number, or one a model. dropout is a rate for all, one a model, one per model
    and dropout layer, or None for the layers' own. All parameters are zero until they are set.

    Raises `Unsupported` if there are no kernels for the stack, RuntimeError if there is no engine at all.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        image_shape: Sequence[int],
        models: int,
        optimizer: Literal["adam", "sgd", "rmsprop"] = "adam",
        *,
        lr: ArrayLike = 1e-3,
        weight_decay: ArrayLike = 0.0,
        momentum: ArrayLike = 0.0,
        dropout: ArrayLike | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        alpha: float = 0.99,
        nesterov: bool = False,
    ) -> None:
        if models < 1:
            raise ValueError(f"models must be at least 1, got {models}")
        if optimizer not in STATE:
            raise ValueError(f"unknown optimizer {optimizer!r}: choose from {tuple(STATE)}")
        network = plan(layers, image_shape)
        self.variant = library.choose()
        self.image_shape = tuple(int(n) for n in image_shape)
        self.models = models
        self.optimizer = optimizer
        self.classes = network.classes
        self.dropout_layers = len(network.dropout_rates)
        self._handle = None
        self._kernels = library.load(self.variant)
        self._library = self._kernels.library

        self.lr = self._per_model("lr", lr)
        self.weight_decay = self._per_model("weight_decay", weight_decay)
        self.momentum = self._per_model("momentum", momentum)
        self.dropout = self._dropout_rates(network.dropout_rates if dropout is None else dropout, dropout is None)
        if optimizer == "adam" and self.momentum.any():
            raise ValueError("Adam has no momentum: leave it 0, and set betas")
        if nesterov and (optimizer != "sgd" or not self.momentum.all()):
            raise ValueError("nesterov needs the optimizer 'sgd' and a momentum above 0 for every model")

        self._create(network, nesterov, *betas, eps, alpha)

    def _create(self, network: Plan, *optimizer_scalars: float) -> None:
        """optimizer_scalars: nesterov, beta1, beta2, eps, alpha."""
        numbers, structures = self._kernels.numbers, self._kernels.structures
        layers = network.layer_array(self._kernels)
        stack = structures["NetworkSpec"](ctypes.addressof(layers), len(layers), *self.image_shape)
        optimizer = structures["OptimizerSpec"](numbers["Optimizer"][self.optimizer], *optimizer_scalars)
        self._handle = self._library.lanes_create(ctypes.byref(stack), ctypes.byref(optimizer), self.models)
        if not self._handle:
            raise RuntimeError(f"cannot create the engine: {self._library.lanes_error().decode()}")
        self.parameter_count: int = self._library.lanes_parameters(self._handle)
        assert self.parameter_count == network.parameters
        per_model = (self.lr, self.weight_decay, self.momentum, self.dropout)
        hyperparameters = structures["Hyperparameters"](*map(_address, per_model))
        self._library.lanes_set_hyperparameters(self._handle, ctypes.byref(hyperparameters))

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self._library.lanes_destroy(self._handle)
            self._handle = None

    # ------------------------------------------------------------------------------------------------------- state

    @property
    def parameters(self) -> np.ndarray:
        """All models' parameters, float32 [models, parameters], in state_dict order. A copy; assign to change them."""
        return self._get("parameters")

    @parameters.setter
    def parameters(self, values: Array) -> None:
        self._set("parameters", "parameters", values)

    @property
    def step(self) -> int:
        """Optimizer steps made so far."""
        return self._library.lanes_steps(self._handle)

    @property
    def optimizer_state(self) -> dict[str, np.ndarray | int]:
        """`step` and the optimizer's averages [models, parameters] under PyTorch's names.

        With the parameters, all that is needed to go on bit for bit.
        """
        return {"step": self.step, **{name: self._get(which) for name, which in STATE[self.optimizer].items()}}

    @optimizer_state.setter
    def optimizer_state(self, state: Mapping[str, Array | int]) -> None:
        names = {"step", *STATE[self.optimizer]}
        if set(state) != names:
            raise ValueError(f"{self.optimizer} state must have {sorted(names)}, got {sorted(state)}")
        if int(state["step"]) < 0:
            raise ValueError(f"step must not be negative, got {state['step']}")
        for name, which in STATE[self.optimizer].items():
            self._set(which, name, np.asarray(state[name]))
        self._library.lanes_set_steps(self._handle, int(state["step"]))

    # ---------------------------------------------------------------------------------------------------- training

    def train_epoch(
        self, images: Array, labels: Array, orders: Array, batch_size: int, dropout_keys: Array | None = None
    ) -> Training:
        """Trains every model once through its own `orders`.

        orders (int [models, any number]) are positions in images; a last incomplete batch is used.
        images (float32 [n, c, h, w]) and labels (int64 [n]) may be memory-mapped: they are read in place.
        dropout_keys (uint64 [models]) select the dropout masks; without them there is no dropout.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        images, labels = self._data(images, labels)
        orders = self._indices("orders", orders, len(images))
        keys = self._keys(dropout_keys)
        loss, correct = np.empty(self.models), np.empty(self.models, dtype=np.int64)
        self._library.lanes_train(
            self._handle,
            ctypes.byref(self._samples(images, labels)),
            ctypes.byref(self._visits(orders, batch_size, keys)),
            _pointer(loss, ctypes.c_double),
            _pointer(correct, ctypes.c_int64),
        )
        return Training(loss, correct)

    def gradients(
        self, images: Array, labels: Array, indices: Array, dropout_keys: Array | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The gradients [models, parameters] of the mean loss over one batch (indices [models, batch]), and that loss.

        Without weight decay; with dropout, as in the next training step, if there are keys. Nothing changes.
        """
        images, labels = self._data(images, labels)
        indices = self._indices("indices", indices, len(images))
        keys = self._keys(dropout_keys)
        loss = np.empty(self.models)
        gradients = np.empty((self.models, self.parameter_count), dtype=np.float32)
        self._library.lanes_gradients(
            self._handle,
            ctypes.byref(self._samples(images, labels)),
            ctypes.byref(self._visits(indices, indices.shape[1], keys)),
            _pointer(gradients, ctypes.c_float),
            _pointer(loss, ctypes.c_double),
        )
        return gradients, loss

    def evaluate(self, images: Array, labels: Array, *, deviations: float = DEVIATIONS) -> Evaluation:
        """Mean loss, correct predictions and near ties of every model on the same images, without dropout.

        Two logits are nearly tied that differ by less than `deviations` standard deviations of their difference's
        rounding error, which is estimated for each model and image (src/kernels/rounding.h).
        """
        images, labels = self._data(images, labels)
        loss = np.empty(self.models)
        correct, count = np.empty(self.models, dtype=np.int64), np.empty(self.models, dtype=np.int64)
        tolerance = np.empty((self.models, len(images)), dtype=np.float32)
        # untouched memory costs nothing, and most of this stays so
        ties = np.empty((self.models, len(images)), dtype=np.int32)
        logits = np.empty((self.models, len(images)), dtype=np.uint64)
        to = self._kernels.structures["Evaluation"](
            deviations,
            mean_loss=_address(loss),
            correct=_address(correct),
            tie_tolerance=_address(tolerance),
            near_tie_count=_address(count),
            near_ties=_address(ties),
            near_tie_logits=_address(logits),
        )
        self._library.lanes_evaluate(self._handle, ctypes.byref(self._samples(images, labels)), ctypes.byref(to))
        return Evaluation(loss, correct, tolerance, _firsts(ties, count), _firsts(logits, count))

    def outputs(self, images: Array) -> np.ndarray:
        """The logits [models, images, classes] of every model on the same images, float32, without dropout."""
        images, labels = self._data(images, np.zeros(len(images), dtype=np.int64))
        out = np.empty((self.models, len(images), self.classes), dtype=np.float32)
        samples = self._samples(images, labels)
        self._library.lanes_outputs(self._handle, ctypes.byref(samples), _pointer(out, ctypes.c_float))
        return out

    # ------------------------------------------------------------------------------------------- the kernels' terms

    def _samples(self, images: np.ndarray, labels: np.ndarray) -> ctypes.Structure:
        return self._kernels.structures["Samples"](_address(images), _address(labels), len(images))

    def _visits(self, orders: np.ndarray, batch_size: int, keys: np.ndarray | None) -> ctypes.Structure:
        return self._kernels.structures["Visits"](_address(orders), orders.shape[1], batch_size, _address(keys))

    def _get(self, state: str) -> np.ndarray:
        out = np.empty((self.models, self.parameter_count), dtype=np.float32)
        self._library.lanes_get(self._handle, self._kernels.numbers["State"][state], _pointer(out, ctypes.c_float))
        return out

    def _set(self, state: str, name: str, values: Array) -> None:
        array = np.ascontiguousarray(_numpy(values), dtype=np.float32)
        if array.shape != (self.models, self.parameter_count):
            raise ValueError(f"{name} must be [{self.models}, {self.parameter_count}], got {list(array.shape)}")
        self._library.lanes_set(self._handle, self._kernels.numbers["State"][state], _pointer(array, ctypes.c_float))

    # -------------------------------------------------------------------------------------------------- validation

    def _per_model(self, name: str, values: ArrayLike) -> np.ndarray:
        array = np.asarray(values, dtype=np.float64)
        if array.ndim > 1 or array.ndim == 1 and len(array) != self.models:
            raise ValueError(f"{name} must be a number or [{self.models}], got shape {list(array.shape)}")
        if not (np.isfinite(array) & (array >= 0)).all():
            raise ValueError(f"{name} must be finite and not negative, got {array}")
        return np.ascontiguousarray(np.broadcast_to(array, self.models))

    def _dropout_rates(self, rates: ArrayLike, per_layer: bool) -> np.ndarray:
        """[models, dropout layers] from the shapes that the class's documentation allows."""
        array = np.asarray(rates, dtype=np.float64)
        wanted = (self.models, self.dropout_layers)
        if not per_layer and array.ndim == 1:
            array = array[:, None]
        try:
            array = np.ascontiguousarray(np.broadcast_to(array, wanted))
        except ValueError:
            raise ValueError(f"dropout must be a number, [models] or [models, layers] = {list(wanted)}") from None
        if not ((array >= 0) & (array < 1)).all():
            raise ValueError(f"dropout rates must be in [0, 1), got {rates!r}")
        return array

    def _data(self, images: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
        images, labels = _numpy(images), _numpy(labels)
        if images.ndim != 4 or images.shape[1:] != self.image_shape:
            raise ValueError(f"images must be [n, {', '.join(map(str, self.image_shape))}], got {list(images.shape)}")
        if images.dtype != np.float32 or not images.flags.c_contiguous:
            raise ValueError(f"images must be contiguous float32, got {images.dtype} with strides {images.strides}")
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            raise ValueError(f"labels must be integers [{len(images)}], got {labels.dtype} {list(labels.shape)}")
        if not 0 < len(images) < 2**31:
            raise ValueError(f"there must be 1 to 2^31 - 1 images, got {len(images)}")
        if labels.min() < 0 or labels.max() >= self.classes:
            raise ValueError(f"labels must be in [0, {self.classes}), got {labels.min()} to {labels.max()}")
        return images, np.ascontiguousarray(labels, dtype=np.int64)

    def _indices(self, name: str, indices: Array, images: int) -> np.ndarray:
        array = _numpy(indices)
        if array.ndim != 2 or len(array) != self.models or array.shape[1] == 0 or array.dtype.kind not in "iu":
            raise ValueError(
                f"{name} must be integers [{self.models}, 1 or more], got {array.dtype} {list(array.shape)}"
            )
        if array.min() < 0 or array.max() >= images:
            raise ValueError(f"{name} must be in [0, {images}), got {array.min()} to {array.max()}")
        return np.ascontiguousarray(array, dtype=np.int32)

    def _keys(self, keys: Array | None) -> np.ndarray | None:
        if keys is None:
            return None
        array = _numpy(keys)
        if array.shape != (self.models,) or array.dtype.kind not in "iu":
            raise ValueError(f"dropout_keys must be integers [{self.models}], got {array.dtype} {list(array.shape)}")
        return np.ascontiguousarray(array).astype(np.uint64)


def _numpy(values: Array) -> np.ndarray:
    """A view where that is possible, memory-mapped or not."""
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)

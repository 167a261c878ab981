"""How a model's state lies in a vector: the tensors of its state dict, flattened, in that order, one after another."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.disk import files
from zoo.errors import ZooError

WEIGHTED = ("Conv1d", "Conv2d", "Conv3d", "Linear")


@dataclass(frozen=True)
class Entry:
    """One tensor of the state dict. It fills `length` places of the vector from `start`, as float32."""

    layer: int  # which layer it belongs to
    name: str  # within its layer
    kind: str  # parameter, or buffer: part of the state, but not trained
    shape: list[int]
    dtype: str  # in the state dict
    start: int
    length: int


@dataclass
class Architecture:
    """What all models of a zoo have in common, and the ways in which their state dicts name it."""

    model: str  # the class
    layers: list[str]  # the type of each layer that has tensors
    tensors: list[Entry]
    variants: list[list[str]] = field(default_factory=list)  # in each, the key of every tensor

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Read off a model, which may be on the meta device."""
        trained = {key for key, _ in model.named_parameters(remove_duplicate=False)}
        state = model.state_dict()
        prefixes = list(dict.fromkeys(key.rpartition(".")[0] for key in state))
        tensors: list[Entry] = []
        for key, value in state.items():
            prefix, _, name = key.rpartition(".")
            kind = "parameter" if key in trained else "buffer"
            dtype = str(value.dtype).removeprefix("torch.")
            start = tensors[-1].start + tensors[-1].length if tensors else 0
            tensors.append(Entry(prefixes.index(prefix), name, kind, list(value.shape), dtype, start, value.numel()))
        layers = [type(model.get_submodule(prefix)).__name__ for prefix in prefixes]
        return cls(type(model).__name__, layers, tensors, [list(state)])

    def include(self, model: nn.Module) -> int:
        """The variant of another model, a new one if need be. Raises ValueError if its tensors are others."""
        other = type(self).of(model)
        if other.tensors != self.tensors:
            raise ValueError(
                f"its tensors have the shapes {[entry.shape for entry in other.tensors]}, "
                f"not {[entry.shape for entry in self.tensors]}"
            )
        [keys] = other.variants
        if keys not in self.variants:
            self.variants.append(keys)
        return self.variants.index(keys)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        try:
            saved = files.read_json(path)
            tensors = [Entry(**entry) for entry in saved["tensors"]]
            layers = [layer["type"] for layer in saved["layers"]]
            return cls(saved["model"], layers, tensors, saved["variants"])
        except FileNotFoundError:
            raise ZooError(f"{path} is missing: get the zoo anew, or make it by `python analyze.py`") from None
        except (KeyError, TypeError) as error:
            raise ZooError(f"{path} is damaged: it lacks {error}") from error

    def save(self, path: Path) -> None:
        layers = []
        for number, kind in enumerate(self.layers):
            entries = self.of_layer(number)
            layers.append(
                {
                    "type": kind,
                    "parameters": sum(entry.length for entry in entries if entry.kind == "parameter"),
                    "start": entries[0].start,
                    "length": sum(entry.length for entry in entries),
                }
            )
        files.write_json(
            path,
            {
                "model": self.model,
                "parameters": self.parameters,
                "length": self.length,
                "layers": layers,
                "tensors": [asdict(entry) for entry in self.tensors],
                "variants": self.variants,
            },
        )

    @property
    def length(self) -> int:
        """Of the vector: parameters and buffers."""
        return sum(entry.length for entry in self.tensors)

    @property
    def parameters(self) -> int:
        return sum(entry.length for entry in self.tensors if entry.kind == "parameter")

    def of_layer(self, number: int) -> list[Entry]:
        return [entry for entry in self.tensors if entry.layer == number]

    def flatten(self, state: Mapping[str, Tensor], variant: int) -> Tensor:
        """The vector [length] of a state dict. Raises ValueError if its keys or shapes are not the variant's."""
        keys = self.variants[variant]
        if state.keys() != set(keys):
            raise ValueError(f"its keys are {', '.join(state)}, not {', '.join(keys)}")
        for key, entry in zip(keys, self.tensors, strict=True):
            if list(state[key].shape) != entry.shape:
                raise ValueError(f"{key} has shape {list(state[key].shape)}, not {entry.shape}")
        return torch.cat([state[key].reshape(-1).float() for key in keys])

    def unflatten(self, vector: Tensor, variant: int) -> dict[str, Tensor]:
        """The state dict of a vector [length]; tensors share its memory where their type is float32."""
        pieces = vector.split([entry.length for entry in self.tensors])
        return {
            key: piece.view(entry.shape).to(getattr(torch, entry.dtype))
            for key, piece, entry in zip(self.variants[variant], pieces, self.tensors, strict=True)
        }

    def index_dict(self) -> dict[str, list[Any]]:
        """Where convolutional and linear layers lie, in the released form: lists with one item per layer.

        A layer's weight is kernel_no x channels_in x kernel_size numbers, its bias follows. As in the released file, a
        linear layer that takes a convolution's flattened output has that convolution's channels, and the size of its
        output map for kernel_size. `layer` is the number in `module_list.{number}`, or else the layer's whole name.
        """
        index: dict[str, list[Any]] = {
            key: [] for key in ("layer", "idx_start", "idx_length", "kernel_no", "kernel_size", "channels_in")
        }
        outputs = 1  # of the layer before
        for number, kind in enumerate(self.layers):
            if kind not in WEIGHTED:
                continue
            entries = self.of_layer(number)
            weight = next(entry for entry in entries if entry.name == "weight")
            inputs = weight.shape[1]
            channels = outputs if kind == "Linear" and index["layer"] and inputs % outputs == 0 else inputs
            outputs = weight.shape[0]
            key = self.variants[0][self.tensors.index(weight)]
            layer = key.removesuffix(".weight").removeprefix("module_list.")
            index["layer"].append(int(layer) if layer.isdigit() else layer)
            index["idx_start"].append(weight.start)
            index["idx_length"].append(sum(entry.length for entry in entries))
            index["kernel_no"].append(outputs)
            index["kernel_size"].append(weight.length // (outputs * channels))
            index["channels_in"].append(channels)
        return index

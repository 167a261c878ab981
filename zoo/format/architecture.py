"""How a model's state lies in a vector: the tensors of its state dict, flattened, in that order, one after another."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.disk import files
from zoo.errors import ZooError
from zoo.format.reading import checking, damaged, json_object

WEIGHTED = ("Conv1d", "Conv2d", "Conv3d", "Linear")
KINDS = ("parameter", "buffer")

# The types of tensors that a float32 vector can keep. WIDER ones may hold numbers that it can't: `as_float32` looks.
DTYPES = {
    **{"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16, "bool": torch.bool},
    **{"uint8": torch.uint8, "int8": torch.int8, "int16": torch.int16},
    **{"int32": torch.int32, "int64": torch.int64, "float64": torch.float64},
}
WIDER = (torch.int32, torch.int64, torch.float64)


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

    def fault(self, start: int, layers: int) -> str | None:
        """What is wrong with it as the next of a vector filled up to `start`, if anything."""
        numbers = (self.layer, self.start, self.length, *self.shape)
        if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
            return f"its numbers {numbers} are not whole, or below 0"
        if self.layer >= layers or not isinstance(self.name, str):
            return f"there is no layer {self.layer}, or the name {self.name!r} is no text"
        if self.kind not in KINDS or self.dtype not in DTYPES:
            return f"unknown kind {self.kind!r} or dtype {self.dtype!r}"
        if self.start != start or self.length != math.prod(self.shape):
            return f"{self.shape} does not fill {self.length} places from {self.start}; {start} are filled before it"
        return None


@dataclass
class Architecture:
    """What all models of a zoo have in common, and the ways in which their state dicts name it."""

    model: str  # the class
    layers: list[str]  # the type of each layer that has tensors
    tensors: list[Entry]
    variants: list[list[str]] = field(default_factory=list)  # in each, the key of every tensor

    @classmethod
    def of(cls, model: nn.Module) -> Self:
        """Read off a model, which may be on the meta device. Raises ZooError if float32 can't hold its numbers."""
        trained = {key for key, _ in model.named_parameters(remove_duplicate=False)}
        state = model.state_dict()
        for key, value in state.items():
            require_kept(key, value, key in trained)
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
        self.add_variants(other)
        return self.variants.index(other.variants[0])

    def add_variants(self, other: Self) -> None:
        """Take over the variants of another architecture. Raises ValueError if its tensors are others."""
        if other.tensors != self.tensors:
            raise ValueError(self.difference(other))
        self.variants += [keys for keys in other.variants if keys not in self.variants]

    def difference(self, other: Self) -> str:
        """The first tensor of another architecture that is not as here."""
        if len(other.tensors) != len(self.tensors):
            return f"it has {len(other.tensors)} tensors, not {len(self.tensors)}"
        pairs = zip(other.variants[0], other.tensors, self.tensors, strict=True)
        key, its, own = next((key, its, own) for key, its, own in pairs if its != own)
        if its.shape != own.shape:
            return f"its {key} has the shape {its.shape}, not {own.shape}"
        return f"its {key} is the {its.kind} {its.name} ({its.dtype}) of layer {its.layer}, not {own}"

    def variant_of(self, state: Mapping[str, Tensor]) -> int:
        """The variant whose keys a state dict has. Raises ValueError if there is none."""
        if isinstance(state, Mapping):
            if list(state) in self.variants:  # in this order, too
                return self.variants.index(list(state))
            for variant, keys in enumerate(self.variants):
                if state.keys() == set(keys):
                    return variant
        raise ValueError(f"its keys are {keys_of(state)}, not {' or '.join(map(', '.join, self.variants))}")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote. Raises ZooError if anything in it contradicts the rest, or is no architecture."""
        return cls.of_json(path, json_object(path))

    @classmethod
    def of_json(cls, path: Path, saved: Mapping[str, Any]) -> Self:
        """The same from what `path` holds."""
        with checking(path):
            tensors = [Entry(**entry) for entry in saved["tensors"]]
            layers = [layer["type"] for layer in saved["layers"]]
            architecture = cls(saved["model"], layers, tensors, saved["variants"])
            if fault := architecture.fault():
                raise damaged(path, fault)
            described = architecture.described()
            # as text: True == 1 == 1.0, but none of them is another
            if as_text(described) != as_text({key: saved[key] for key in described}):
                raise damaged(path, "its sums contradict its tensors")
        return architecture

    def fault(self) -> str | None:
        """What no model's architecture can have, if anything: for those that come from a file."""
        if not all(isinstance(text, str) for text in (self.model, *self.layers)):
            return "names are no text"
        start = 0
        for number, entry in enumerate(self.tensors):
            if fault := entry.fault(start, len(self.layers)):
                return f"tensor {number}: {fault}"
            start += entry.length
        if set(range(len(self.layers))) != {entry.layer for entry in self.tensors}:
            return "a layer has no tensors"
        if not start or not self.variants:
            return "it has no tensors, or no variants"
        for number, keys in enumerate(self.variants):
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                return f"variant {number} is no list of keys"
            if not len(self.tensors) == len(keys) == len(set(keys)):
                return f"variant {number} has not one key for each of {len(self.tensors)} tensors"
        return None

    def save(self, path: Path) -> None:
        files.write_json(path, self.described())

    def described(self) -> dict[str, Any]:
        """As it is saved."""
        return {
            "model": self.model,
            "parameters": self.parameters,
            "length": self.length,
            "layers": [self.described_layer(number) for number in range(len(self.layers))],
            "tensors": [asdict(entry) for entry in self.tensors],
            "variants": self.variants,
        }

    def described_layer(self, number: int) -> dict[str, Any]:
        entries = self.of_layer(number)
        return {
            "type": self.layers[number],
            "parameters": sum(entry.length for entry in entries if entry.kind == "parameter"),
            "start": entries[0].start,
            "length": sum(entry.length for entry in entries),
        }

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
        """The vector [length] of a state dict.

        Raises ValueError if its keys or shapes are not the variant's, or if float32 can't hold one of its numbers.
        """
        keys = self.variants[variant]
        if not isinstance(state, Mapping) or state.keys() != set(keys):
            raise ValueError(f"its keys are {keys_of(state)}, not {', '.join(keys)}")
        for key, entry in zip(keys, self.tensors, strict=True):
            require_kept(key, state[key])
            if list(state[key].shape) != entry.shape:
                raise ValueError(f"{key} has shape {list(state[key].shape)}, not {entry.shape}")
        return torch.cat([as_float32(key, state[key]).reshape(-1) for key in keys])

    def flatten_network(self, network: nn.Module) -> Tensor:
        """The vector [length] of a network, whose keys may be others. Raises ValueError if its tensors are."""
        own = type(self).of(network)
        if own.tensors != self.tensors:
            raise ValueError(self.difference(own))
        return own.flatten(network.state_dict(), 0).detach()

    def unflatten(self, vector: Tensor, variant: int) -> dict[str, Tensor]:
        """The state dict of a vector [length]; tensors share its memory where their type is float32."""
        pieces = vector.split([entry.length for entry in self.tensors])
        return {
            key: piece.view(entry.shape).to(DTYPES[entry.dtype])
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
            weight = next((entry for entry in entries if entry.name == "weight" and len(entry.shape) > 1), None)
            if not weight or not weight.length:
                continue
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


def keys_of(state: Any) -> str:
    """To be read in an error."""
    return ", ".join(map(str, state)) if isinstance(state, Mapping) else f"those of a {type(state).__name__}"


def require_kept(key: str, value: Any, trained: bool = False) -> None:
    """Raise ZooError unless a float32 vector can keep this tensor of a state dict; `trained` ones change in all digits.

    Whether it does keep the numbers that are in it is seen where they are known (`as_float32`).
    """
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.dtype not in DTYPES.values():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise ZooError(f"{key} is {kind}: a zoo keeps dense tensors of {', '.join(DTYPES)}")
    if trained and value.dtype in WIDER:
        raise ZooError(f"{key} is trained as {value.dtype}, but a zoo keeps float32: build the model in float32")


def as_float32(key: str, value: Tensor) -> Tensor:
    """Raises ZooError if any number becomes another, or if there are none to take."""
    if value.is_meta:
        raise ZooError(f"{key} has a shape, but no numbers")
    narrow = value.to(torch.float32)
    if value.dtype in WIDER and not torch.allclose(narrow.to(value.dtype), value, rtol=0, atol=0, equal_nan=True):
        raise ZooError(f"{key} ({value.dtype}) has numbers that float32, as which a zoo keeps them, can't hold")
    return narrow


def as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)

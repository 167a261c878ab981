"""A network as a chain of layers, for formats that know no other."""

from dataclasses import dataclass

from zoo.errors import ZooError
from zoo.format.architecture import Architecture, Entry


@dataclass(frozen=True)
class Layer:
    """A convolution, with weight [outputs, inputs, height, width], or a linear layer, with [outputs, inputs]."""

    weight: Entry
    bias: Entry
    positions: int  # of a map that was flattened before it: inputs are channels x positions; else 1

    @property
    def is_convolution(self) -> bool:
        return len(self.weight.shape) == 4

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]


def chain(architecture: Architecture, to: str) -> list[Layer]:
    """The layers, in the order of the state dict. Raises ZooError unless each takes what the one before it gives."""
    layers: list[Layer] = []
    for number, kind in enumerate(architecture.layers):
        entries = {entry.name: entry for entry in architecture.of_layer(number)}
        if kind not in ("Conv2d", "Linear") or entries.keys() != {"weight", "bias"}:
            has = ", ".join(entries)
            raise ZooError(f"--to {to} holds convolutions and linear layers with biases: this is a {kind} with {has}")
        inputs = entries["weight"].shape[1]
        positions = positions_before(layers[-1] if layers else None, kind, inputs)
        if positions is None:
            gives = f"after one that gives {layers[-1].outputs}"
            raise ZooError(f"--to {to} holds chains of layers: this is a {kind} of {inputs} inputs, {gives}")
        layers.append(Layer(entries["weight"], entries["bias"], positions))
    return layers


def positions_before(before: Layer | None, kind: str, inputs: int) -> int | None:
    """How large a map a layer with so many inputs flattens; None if it can't follow the layer before it."""
    if before is None or before.outputs == inputs:
        return 1
    flattens = before.is_convolution and kind == "Linear" and inputs % before.outputs == 0
    return inputs // before.outputs if flattens else None

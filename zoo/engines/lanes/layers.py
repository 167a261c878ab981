"""Translates a stack of PyTorch layers into the engine's terms, or says why it cannot."""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import prod

from torch import nn

from zoo.engines.lanes.library import Kernels

ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.Sigmoid: "sigmoid",
    nn.GELU: "gelu",
    nn.LeakyReLU: "leaky_relu",
    nn.SiLU: "silu",
}
"""The kernels' name of each (`Activation` in src/numbers.h)."""


class Unsupported(ValueError):
    """The engine has no kernels for this stack."""


@dataclass(frozen=True)
class LayerSpec:
    """A layer in the kernels' words: `LayerSpec` of src/numbers.h, by name where that has a number."""

    kind: str
    outputs: int = 0
    height: int = 0
    width: int = 0
    bias: bool = False
    activation: str = "none"
    slope: float = 0.0

    def structure(self, kernels: Kernels) -> ctypes.Structure:
        values = asdict(self) | {
            "kind": kernels.numbers["LayerKind"][self.kind],
            "activation": kernels.numbers["Activation"][self.activation],
        }
        return kernels.structures["LayerSpec"](**values)


@dataclass(frozen=True)
class Plan:
    """A stack in the engine's terms; dropout_rates are the modules' own, in order, parameters counts one model's."""

    specs: list[LayerSpec]
    dropout_rates: list[float]
    parameters: int
    classes: int

    def layer_array(self, kernels: Kernels) -> ctypes.Array[ctypes.Structure]:
        return (kernels.structures["LayerSpec"] * len(self.specs))(*(spec.structure(kernels) for spec in self.specs))


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def flatten(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    """The layers in order, nested containers opened."""
    for layer in layers:
        # a subclass with a forward of its own may do anything there
        if isinstance(layer, nn.ModuleList) or type(layer).forward is nn.Sequential.forward:
            yield from flatten(layer.children())
        else:
            yield layer


def require(condition: bool, layer: nn.Module, what: str) -> None:
    if not condition:
        raise Unsupported(f"{layer}: {what}")


def plan(layers: Iterable[nn.Module], image_shape: Sequence[int]) -> Plan:
    """Raises Unsupported with the reason if the engine cannot train this stack on images of that shape (c, h, w)."""
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise Unsupported(f"images must be [channels, height, width], got {tuple(image_shape)}")
    shape: tuple[int, ...] = tuple(image_shape)  # (c, h, w), or (features,) once flattened
    specs: list[LayerSpec] = []
    rates: list[float] = []
    parameters = 0
    for layer in flatten(layers):
        if type(layer) is nn.Conv2d:
            spec, shape = convolution(layer, shape)
        elif type(layer) is nn.MaxPool2d:
            spec, shape = max_pool(layer, shape)
        elif type(layer) is nn.Linear:
            require(shape == (layer.in_features,), layer, f"its input must be flat, and is {shape}")
            spec, shape = LayerSpec("linear", layer.out_features, bias=layer.bias is not None), (layer.out_features,)
        elif type(layer) in ACTIVATIONS:
            require(getattr(layer, "approximate", "none") == "none", layer, "only the exact GELU is supported")
            slope = getattr(layer, "negative_slope", 0.0)
            spec = LayerSpec("activation", activation=ACTIVATIONS[type(layer)], slope=slope)
        elif type(layer) is nn.Dropout:
            require(0 <= layer.p < 1, layer, "the rate must be in [0, 1)")
            spec = LayerSpec("dropout")
            rates.append(layer.p)
        elif type(layer) is nn.Flatten:
            require((layer.start_dim, layer.end_dim) in ((1, -1), (1, 3)), layer, "all but the batch must be flattened")
            shape = (prod(shape),)
            continue
        elif type(layer) is nn.Identity:
            continue
        else:
            raise Unsupported(f"{type(layer).__name__} layers are not supported")
        parameters += sum(p.numel() for p in layer.parameters())
        specs.append(spec)
    if len(shape) != 1:
        raise Unsupported(f"the output must be flat (one logit a class), and is {shape}")
    if parameters == 0:
        raise Unsupported("there are no parameters to train")
    return Plan(specs, rates, parameters, shape[0])


def convolution(layer: nn.Conv2d, shape: tuple[int, ...]) -> tuple[LayerSpec, tuple[int, ...]]:
    require(len(shape) == 3 and shape[0] == layer.in_channels, layer, f"does not fit its input {shape}")
    require(layer.stride == (1, 1), layer, "only stride 1 is supported")
    require(layer.padding in ((0, 0), 0, "valid"), layer, "padding is not supported")
    require(layer.dilation == (1, 1), layer, "dilation is not supported")
    require(layer.groups == 1, layer, "groups are not supported")
    height, width = pair(layer.kernel_size)
    require(height <= shape[1] and width <= shape[2], layer, f"is larger than its input {shape}")
    spec = LayerSpec("convolution", layer.out_channels, height, width, layer.bias is not None)
    return spec, (layer.out_channels, shape[1] - height + 1, shape[2] - width + 1)


def max_pool(layer: nn.MaxPool2d, shape: tuple[int, ...]) -> tuple[LayerSpec, tuple[int, ...]]:
    require(len(shape) == 3, layer, f"does not fit its input {shape}")
    height, width = pair(layer.kernel_size)
    require(pair(layer.stride) == (height, width), layer, "only stride = kernel size is supported")
    require(pair(layer.padding) == (0, 0), layer, "padding is not supported")
    require(pair(layer.dilation) == (1, 1), layer, "dilation is not supported")
    require(not layer.ceil_mode, layer, "ceil_mode is not supported")
    require(not layer.return_indices, layer, "return_indices is not supported")
    require(height <= shape[1] and width <= shape[2], layer, f"is larger than its input {shape}")
    return LayerSpec("max_pool", height=height, width=width), (shape[0], shape[1] // height, shape[2] // width)


def classes(layers: Iterable[nn.Module], image_shape: Sequence[int]) -> int:
    """How many logits this stack gives for an image of that shape (c, h, w). Raises Unsupported."""
    return plan(layers, image_shape).classes


def supported(layers: Iterable[nn.Module], image_shape: Sequence[int]) -> str | None:
    """Why the engine cannot train this stack on images of that shape (c, h, w); None if it can."""
    try:
        plan(layers, image_shape)
    except Unsupported as error:
        return str(error)
    return None

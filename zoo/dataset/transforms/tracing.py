"""Which axes of a network's tensors belong to the same units: read off the graph of its forward.

The units of a layer are its output channels. They run through the graph: along activations, pools, normalisations and
dropout, into the weights of the next layers, and a residual connection makes two layers' units the same ones. Whatever
is not understood here holds the units that enter it in their places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import fx, nn

from zoo.errors import ZooError

# How many axes a value has, where that is not known. The input has as many as the first layer that takes it wants.
INPUT, UNKNOWN = -1, -2

CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}  # and how many axes their maps have
TRANSPOSED = {nn.ConvTranspose1d: 1, nn.ConvTranspose2d: 2, nn.ConvTranspose3d: 3}
CHANNEL_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
ELEMENTWISE = (  # or what drops elements, or channels
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Softsign),
    *(nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink),
    *(nn.Tanhshrink, nn.Threshold, nn.Identity),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
)
ON_MAPS = (  # each channel's by itself
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.LPPool1d, nn.LPPool2d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.Upsample, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ReflectionPad2d, nn.ReplicationPad2d),
)
# The same as functions or methods, the elementwise ones of any number of values.
ELEMENTWISE_FUNCTIONS = {
    *("add", "sub", "mul", "truediv", "div", "neg", "pow", "iadd", "isub", "imul", "add_", "sub_", "mul_", "div_"),
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "softsign"),
    *("tanh", "tanh_", "sigmoid", "sigmoid_", "logsigmoid", "hardtanh", "hardswish", "hardsigmoid", "threshold"),
    *("sin", "cos", "exp", "log", "abs", "sqrt", "square", "clamp", "contiguous", "float", "clone", "detach", "to"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
}
FUNCTIONS_ON_MAPS = {
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d"),
    *("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"),
    *("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "interpolate"),
}


@dataclass(frozen=True)
class Axis:
    """Of a tensor: units lie on it one after another, each in `repeat` places (more than one behind a flatten)."""

    tensor: int  # which, in the order of the state dict
    axis: int
    repeat: int


@dataclass(eq=False)
class Units:
    """Some layer's output channels. `free`: only layers of the network see their order, so they can be permuted."""

    size: int
    free: bool = True
    axes: list[Axis] = field(default_factory=list)
    joined: "Units | None" = None  # these turned out to be the same ones

    def root(self) -> "Units":
        return self.joined.root() if self.joined else self

    def join(self, other: "Units") -> None:
        own, its = self.root(), other.root()
        if own is not its:
            its.joined = own
            own.free &= its.free
            own.axes += its.axes

    def hold(self) -> None:
        self.root().free = False


@dataclass(frozen=True)
class Value:
    """What an edge of the graph carries: the units on one of its axes."""

    units: Units | None = None  # None: channels that no layer made which is understood
    axis: int = 1  # of the channels: 1, behind the batch, or -1, the last
    rank: int = UNKNOWN  # how many axes it has
    repeat: int | None = 1  # places of a unit on that axis; None: as many as its map had, now flattened

    @property
    def first(self) -> bool:
        """Whether the channels' axis comes right behind the batch."""
        return self.axis == 1 or self.rank == 2

    @property
    def last(self) -> bool:
        return self.axis == -1 or self.rank == 2

    @property
    def maps(self) -> bool:
        """Whether each channel is a map."""
        return self.axis == 1 and self.rank > 2

    def like(self, other: "Value") -> bool:
        """Whether the two have the same channels in the same places, if they are added."""
        if not self.units or not other.units or self.units.root().size != other.units.root().size:
            return False
        same_place = (self.first, self.last) == (other.first, other.last)
        return same_place and (self.rank, self.repeat) == (other.rank, other.repeat)


def trace(module: nn.Module) -> list[Units]:
    """The sets of units of a module, in the order in which its forward meets them.

    It is taken to map a batch of images [batch, channels, height, width] or of vectors [batch, numbers]. Raises
    ZooError if its forward can't be traced.
    """
    try:
        graph = fx.Tracer().trace(module)
    except Exception as error:  # whatever a forward raises that looks at numbers
        raise ZooError(
            f"torch.fx can't trace the forward of {type(module).__name__} ({error}): write it such that its steps do "
            "not depend on the images, or give a PermutationSpec of your own"
        ) from error
    return Walk(module).through(graph)


class Walk:
    """Through a graph, node by node, noting which units lie on which axes."""

    def __init__(self, module: nn.Module):
        self.module = module
        self.tensors = {key: number for number, key in enumerate(module.state_dict())}
        self.places: dict[tuple[int, int], tuple[Units, int]] = {}  # (tensor, axis): the units there, their repeat
        self.used: set[int] = set()  # tensors that the forward uses outside of their layer
        self.values: dict[fx.Node, Value | None] = {}  # None: no tensor, or one number

    def through(self, graph: fx.Graph) -> list[Units]:
        for node in graph.nodes:
            self.values[node] = self.visit(node)
        self.hold_tensors()
        return list(dict.fromkeys(units.root() for units, _ in self.places.values()))

    def visit(self, node: fx.Node) -> Value | None:
        entering = [value for value in map(self.values.get, node.all_input_nodes) if value]
        if node.op == "placeholder":
            return Value(rank=INPUT)
        if node.op == "get_attr":
            return self.attribute(str(node.target))
        if node.op == "call_module" and len(entering) == 1:
            return self.layer(str(node.target), entering[0])
        if node.op in ("call_function", "call_method"):
            return called(node, entering)
        return held(*entering)

    def attribute(self, key: str) -> Value | None:
        self.used.add(self.tensors.get(key, -1))
        path, _, name = key.rpartition(".")
        return None if getattr(self.module.get_submodule(path), name).numel() == 1 else Value()

    def layer(self, prefix: str, value: Value) -> Value:
        layer = self.module.get_submodule(prefix)
        kind = type(layer)  # exactly: a class derived from it may do anything
        if kind in ELEMENTWISE or (kind in ON_MAPS and value.maps):
            return value
        if kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1):
            return flattened(value)
        for kinds, rule in RULES:
            if kind in kinds:
                return rule(self, prefix, layer, value) or held(value)
        return held(value)

    def take(self, key: str, axis: int, length: int, value: Value) -> None:
        """Note that the channels of a value lie on a tensor's axis of this length. Units that don't fit are held."""
        units = value.units.root() if value.units else Units(length, free=False)
        repeat, rest = divmod(length, units.size)
        if rest or value.repeat not in (None, repeat):
            units.hold()
            units, repeat = Units(length, free=False), 1
        self.place(key, axis, units, repeat)

    def make(self, prefix: str, axis: int, size: int) -> Units:
        """The output channels of a layer, which lie on this axis of its weight, and on its bias."""
        place = (self.tensors[f"{prefix}.weight"], axis)
        if place in self.places:  # it is applied once more
            return self.places[place][0].root()
        units = Units(size)
        self.place(f"{prefix}.weight", axis, units, 1)
        self.place(f"{prefix}.bias", 0, units, 1)
        return units

    def place(self, key: str, axis: int, units: Units, repeat: int) -> None:
        if key not in self.tensors:  # a layer without bias
            return
        place = (self.tensors[key], axis)
        before, repeat_before = self.places.setdefault(place, (units, repeat))
        if before is units and not any((known.tensor, known.axis) == place for known in units.root().axes):
            units.root().axes.append(Axis(*place, repeat))
        elif repeat == repeat_before:
            before.join(units)
        else:
            before.hold()
            units.hold()

    def hold_tensors(self) -> None:
        """Those that more than one layer has, or that are used outside of theirs."""
        keys: dict[int, list[int]] = {}
        for number, value in enumerate(self.module.state_dict(keep_vars=True).values()):
            keys.setdefault(id(value), []).append(number)
        shared = self.used.union(*(numbers for numbers in keys.values() if len(numbers) > 1))
        for (tensor, _), (units, _) in self.places.items():
            if tensor in shared:
                units.hold()


def held(*values: Value) -> Value:
    """What comes out of a step that is not understood: the units that entered it must keep their order."""
    for value in values:
        if value.units:
            value.units.hold()
    return Value()


def called(node: fx.Node, entering: Sequence[Value]) -> Value | None:
    """What a function or method gives."""
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if name in ("size", "dim", "len") or (name == "getattr" and node.args[1] in ("shape", "ndim", "dtype", "device")):
        return None
    if name in ELEMENTWISE_FUNCTIONS or name == "getitem":
        if not entering:  # of sizes
            return None
        if name != "getitem":
            return together(entering)
    if len(entering) == 1:
        value = entering[0]
        if name in FUNCTIONS_ON_MAPS and value.maps:
            return value
        if name == "flatten" and flatten_range(node) == (1, -1):
            return flattened(value)
        if name in ("view", "reshape") and len(new_shape(node)) == 2:
            return flattened(value)
        if name == "mean":
            return averaged(node, value)
    return held(*entering)


def together(values: Sequence[Value]) -> Value:
    """Of an elementwise function. The channels of values that are added to each other are the same ones."""
    first, *rest = values
    if not all(first.like(value) for value in rest):
        return held(*values)
    for value in rest:
        assert first.units and value.units
        first.units.join(value.units)
    return first


def flattened(value: Value) -> Value:
    """[batch, channels, ...] to [batch, numbers]."""
    if value.rank == 2:
        return value
    if value.maps:
        return replace(value, rank=2, repeat=None)
    held(value)
    return Value(rank=2)


def flatten_range(node: fx.Node) -> tuple[Any, Any]:
    given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
    return given.get("start_dim", 0), given.get("end_dim", -1)


def new_shape(node: fx.Node) -> Sequence[Any]:
    sizes: Any = node.args[1:] if len(node.args) > 1 else node.kwargs.get("shape", ())
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes


def averaged(node: fx.Node, value: Value) -> Value:
    """The mean over axes of the channels' maps."""
    given = dict(zip(("dim", "keepdim"), node.args[1:], strict=False)) | node.kwargs
    dims = given.get("dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not value.maps or not isinstance(dims, list | tuple) or not all(isinstance(dim, int) for dim in dims):
        return held(value)
    axes = {dim % value.rank for dim in dims}
    if axes & {0, 1}:
        return held(value)
    return value if given.get("keepdim") else replace(value, rank=value.rank - len(axes))


def convolution(walk: Walk, prefix: str, layer: Any, value: Value) -> Value | None:
    rank = (CONVOLUTIONS | TRANSPOSED)[type(layer)] + 2
    weight = f"{prefix}.weight"
    if weight not in walk.tensors or (value.units and not (value.axis == 1 and value.rank == rank)):
        return None
    into = type(layer) in TRANSPOSED  # the weight of a transposed one is [in, out, ...]
    if layer.groups == 1:
        walk.take(weight, 0 if into else 1, layer.in_channels, value)
        return Value(walk.make(prefix, 1 if into else 0, layer.out_channels), rank=rank)
    if layer.groups != layer.in_channels or into or not value.units or not value.repeat:
        return None
    through = replace(value, repeat=value.repeat * (layer.out_channels // layer.in_channels))  # channel by channel
    for key in (weight, f"{prefix}.bias"):
        walk.take(key, 0, layer.out_channels, through)
    return through


def linear(walk: Walk, prefix: str, layer: nn.Linear, value: Value) -> Value | None:
    weight = f"{prefix}.weight"
    if weight not in walk.tensors:
        return None
    if not value.last:
        held(value)
        value = replace(value, units=None)
    walk.take(weight, 1, layer.in_features, value)
    rank = 2 if value.rank == INPUT else value.rank
    return Value(walk.make(prefix, 0, layer.out_features), axis=-1, rank=rank)


def channel_norm(walk: Walk, prefix: str, layer: Any, value: Value) -> Value | None:
    if not value.first:
        return None
    for name in ("weight", "bias", "running_mean", "running_var"):
        walk.take(f"{prefix}.{name}", 0, layer.num_features, value)
    return value


def layer_norm(walk: Walk, prefix: str, layer: nn.LayerNorm, value: Value) -> Value | None:
    if not value.last or len(layer.normalized_shape) != 1:
        return None
    for name in ("weight", "bias"):
        walk.take(f"{prefix}.{name}", 0, layer.normalized_shape[0], value)
    return value


def group_norm(walk: Walk, prefix: str, layer: nn.GroupNorm, value: Value) -> Value | None:
    if not value.first or layer.num_groups not in (1, layer.num_channels):
        return None
    for name in ("weight", "bias"):
        walk.take(f"{prefix}.{name}", 0, layer.num_channels, value)
    return value


def prelu(walk: Walk, prefix: str, layer: nn.PReLU, value: Value) -> Value | None:
    if layer.num_parameters > 1:
        if not value.first:
            return None
        walk.take(f"{prefix}.weight", 0, layer.num_parameters, value)
    return value


RULES: tuple[tuple[Any, Callable[[Walk, str, Any, Value], Value | None]], ...] = (
    ((*CONVOLUTIONS, *TRANSPOSED), convolution),
    ((nn.Linear,), linear),
    (CHANNEL_NORMS, channel_norm),
    ((nn.LayerNorm,), layer_norm),
    ((nn.GroupNorm,), group_norm),
    ((nn.PReLU,), prelu),
)

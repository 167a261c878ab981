"""Reads off a model which layers it applies one after the other, if that is all it does."""

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from zoo.engines.lanes.layers import Unsupported

ACTIVATION_FUNCTIONS: dict[Callable[..., Any] | str, type[nn.Module]] = {
    **dict.fromkeys((torch.tanh, F.tanh, "tanh"), nn.Tanh),
    **dict.fromkeys((torch.relu, F.relu, "relu"), nn.ReLU),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), nn.Sigmoid),
    F.gelu: nn.GELU,
    F.leaky_relu: nn.LeakyReLU,
    F.silu: nn.SiLU,
}
"""What a forward may call instead of a layer: functions, and methods by name."""

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Tracer(fx.Tracer):
    """Follows forwards down to the modules that contain no others."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


def chain(model: nn.Module) -> list[nn.Module]:
    """The layers that the model applies one after the other, images to logits; it may be on the meta device.

    Functions that it calls (`F.relu`, `torch.flatten`) are given as the layers that do the same. The layers' parameters
    are the state dict's, in its order. Raises Unsupported with the reason where the model does anything else, or trains
    otherwise than its layers: the engine would train it wrongly, and without a word.
    """
    require_untouched(model)
    layers = traced(model, training=True)
    require_the_same(layers, traced(model, training=False))
    require_applied_once(model, layers)
    require_all_of_the_model(model, layers)
    return layers


# ----------------------------------------------------------------------------------------------- following the forward


def traced(model: nn.Module, training: bool) -> list[nn.Module]:
    """What the model's forward calls, in order."""
    around = nn.Sequential(model)  # so that the model itself may be one of the layers
    with mode(model, training):
        try:
            graph = Tracer().trace(around)
        except Exception as error:  # a forward may raise anything when it is given no real images
            text = str(error).strip() or type(error).__name__
            raise Unsupported(f"the model's forward cannot be followed: {text.splitlines()[0]}") from error
    return list(read(graph, around))


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[None]:
    before = {module: module.training for module in model.modules()}
    try:
        for module in before:
            module.training = training
        yield
    finally:
        for module, was_training in before.items():
            module.training = was_training


def read(graph: fx.Graph, around: nn.Module) -> Iterator[nn.Module]:
    """The layers of a graph in which each is applied to what the one before it gave, and to nothing else."""
    last: fx.Node | None = None
    for node in graph.nodes:
        if node.op == "placeholder":
            last = node
        elif asks_for_shape(node):
            continue
        elif node.op == "get_attr":
            raise Unsupported(f"the model's forward uses {str(node.target).removeprefix('0.')} outside of a layer")
        elif list(node.args[:1]) != [last]:
            raise Unsupported(f"the model branches, or has more than one output ({node.name})")
        elif node.op != "output":
            yield layer(node, around)
            last = node


def layer(node: fx.Node, around: nn.Module) -> nn.Module:
    """The layer that does what this node of the graph does."""
    arguments = node.args[1:]
    if node.op == "call_module" and not arguments and not node.kwargs:
        return around.get_submodule(str(node.target))
    if node.target in (torch.flatten, "flatten"):
        given: dict[str, Any] = dict(zip(("start_dim", "end_dim"), arguments, strict=False)) | node.kwargs
        return nn.Flatten(**{"start_dim": 0} | given)
    if node.target in ("view", "reshape") and len(arguments) == 2 and arguments[1] == -1 and is_batch_size(node):
        return nn.Flatten()
    if node.target in ACTIVATION_FUNCTIONS and not arguments:
        return ACTIVATION_FUNCTIONS[node.target](**node.kwargs)
    raise Unsupported(f"the model's forward calls {called(node)}, for which the engine knows no layer")


def called(node: fx.Node) -> str:
    return str(node.target) if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))


def asks_for_shape(node: fx.Node) -> bool:
    """`x.size(0)`, `x.shape` or `x.shape[0]`; what becomes of the answer is looked at where it is used."""
    if node.target is operator.getitem:
        return isinstance(node.args[0], fx.Node) and asks_for_shape(node.args[0])
    return node.target in ("size", getattr)


def is_batch_size(node: fx.Node) -> bool:
    """Whether a view's first dimension is that of its input: `x.view(x.size(0), -1)`, `x.reshape(x.shape[0], -1)`."""
    x, size = node.args[:2]
    if not isinstance(size, fx.Node):
        return False
    if size.target is operator.getitem:
        shape, index = size.args
        return bool(index == 0 and isinstance(shape, fx.Node) and shape.args in ((x, "shape"), (x,)))
    return bool(size.args == (x, 0))


# ------------------------------------------------------------------------------------- what would be trained otherwise


def require_the_same(training: Sequence[nn.Module], evaluation: Sequence[nn.Module]) -> None:
    """The same layers are applied in training and in evaluation; those that stand for a function are made each time."""
    for a, b in zip_longest(training, evaluation):
        if a is not b and (repr(a) != repr(b) or list(a.parameters())):
            raise Unsupported("the model does something else in evaluation than in training")


def require_untouched(model: nn.Module) -> None:
    """Nothing was added to the model's modules and parameters that changes what they do or how they train."""
    for name, module in model.named_modules():
        if any(getattr(module, hooks, None) for hooks in HOOKS):
            raise Unsupported(f"{name or 'the model'} has hooks")
        if parametrize.is_parametrized(module):
            raise Unsupported(f"{name or 'the model'} is parametrized")
        if "forward" in vars(module):
            raise Unsupported(f"{name or 'the model'} has a forward of its own, which is not its class's")
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            raise Unsupported(f"{name} is frozen (requires_grad is False)")
        if any(getattr(parameter, hooks, None) for hooks in PARAMETER_HOOKS):
            raise Unsupported(f"{name} has hooks")
        if parameter.dtype != torch.float32:
            raise Unsupported(f"{name} is {parameter.dtype}, and the engine computes in torch.float32")


def require_applied_once(model: nn.Module, layers: Sequence[nn.Module]) -> None:
    """No layer with parameters or dropout is used twice, and no parameter is in two of them."""
    names = {module: name or "the model" for name, module in model.named_modules()}
    seen: set[int] = set()
    for layer in layers:
        if type(layer) is nn.Dropout and id(layer) in seen:
            raise Unsupported(f"{names[layer]} is applied twice")
        seen.add(id(layer))
        for parameter in layer.parameters():
            if id(parameter) in seen:
                raise Unsupported(f"{names[layer]} is applied twice, or shares its weights with another layer")
            seen.add(id(parameter))


def require_all_of_the_model(model: nn.Module, layers: Sequence[nn.Module]) -> None:
    """The state dict is the layers', in their order, and dropout layers are numbered in their order."""
    state = model.state_dict(keep_vars=True)
    own = [id(value) for layer in layers for value in layer.state_dict(keep_vars=True).values()]
    if extra := [name for name, value in state.items() if id(value) not in own]:
        raise Unsupported(f"{extra[0]} is in the model's state, and in none of the layers that it applies")
    if extra := [name for name, buffer in model.named_buffers() if not is_in_a_layer(buffer, layers)]:
        raise Unsupported(f"the buffer {extra[0]} is in none of the layers that the model applies")
    if own != [id(value) for value in state.values()]:
        raise Unsupported("the model applies its layers in another order than its state dict has them in")
    dropouts = [module for module in model.modules() if type(module) is nn.Dropout]
    if dropouts != [layer for layer in layers if type(layer) is nn.Dropout]:
        raise Unsupported("the model has dropout layers that it does not apply, or applies in another order")


def is_in_a_layer(buffer: torch.Tensor, layers: Sequence[nn.Module]) -> bool:
    return any(buffer is own for layer in layers for own in layer.buffers())

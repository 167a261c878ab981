"""The CNN Wild Park (Kofinas et al. 2024): a file per state with the network's own description beside it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from zoo.dataset.dataset import ZooDataset
from zoo.dataset.network import key_of
from zoo.disk import files
from zoo.errors import ZooError
from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.exports.layers import Layer, chain
from zoo.exports.many_files import state, write_all
from zoo.exports.split_states import measured, place, write_splits


@dataclass(frozen=True)
class Model:
    id: int
    node: str
    keys: list[str]
    config: dict[str, Any]
    results: list[tuple[int, float]]  # epoch, test accuracy


def write(content: Content, folder: Path, options: Options) -> None:
    layers = convolutions(chain(content.architecture, "wildpark"))
    write_all(functools.partial(write_states, content.zoo, folder), models(content, layers), len(content), "state")
    write_splits(content, folder, options.out, measured(content))


def convolutions(layers: Sequence[Layer]) -> list[Layer]:
    """All but the last layer. Raises ZooError unless the network is convolutions, an average over the map, and `fc`."""
    *before, last = layers
    if not before or not all(layer.is_convolution for layer in before) or last.is_convolution or last.positions > 1:
        raise ZooError("--to wildpark holds convolutions, then an average over the map, then one linear layer alone")
    return before


def models(content: Content, layers: Sequence[Layer]) -> list[Model]:
    keys = keys_of(content, len(layers))
    source, defaults = content.dataset.source, cache(functools.partial(built_with, content.dataset))
    made = []
    for id, states in content.states.groupby("id"):
        results = list(zip(states["epoch"].tolist(), states["test_acc"].tolist(), strict=True))
        node = states["node"].iloc[0]
        params = defaults(key_of(source, int(id)), int(id)) | source.params(int(id))
        made.append(Model(int(id), node, keys, config(layers, params, content), results))
    return made


def built_with(dataset: ZooDataset, key: str, id: int) -> dict[str, Any]:
    """What is fixed in the class of a model, if that is known here; the same for all models with this `key`."""
    try:
        modules = dataset.untrained(id).modules()
    except ZooError:
        return {}
    found = [module for module in modules if isinstance(module, nn.Conv2d)]
    return {"model.stride": [conv.stride[0] for conv in found], "model.padding": [conv.padding[0] for conv in found]}


def keys_of(content: Content, convolutions: int) -> list[str]:
    names = {number: f"layers.{number}" for number in range(convolutions)} | {convolutions: "fc"}
    return [f"{names[entry.layer]}.{entry.name}" for entry in content.architecture.tensors]


def config(layers: Sequence[Layer], params: dict[str, Any], content: Content) -> dict[str, Any]:
    """The network as the Wild Park describes it. `params`: what is known of it, under `model.`."""
    kernels = [layer.weight.shape[-1] for layer in layers]
    return {
        "n_layers": len(layers),
        "n_classes": content.architecture.tensors[-1].shape[0],
        "channels": [layers[0].weight.shape[1], *(layer.outputs for layer in layers)],
        "kernel_size": kernels,
        "stride": per_layer(params, "model.stride", len(layers)),
        "padding": per_layer(params, "model.padding", len(layers), [size // 2 for size in kernels]),
        "residual": per_layer(params, "model.residual", len(layers), -1),
        "activation": per_layer(params, "model.activation", len(layers)),
    }


def per_layer(params: dict[str, Any], key: str, layers: int, default: Any = None) -> list[Any]:
    """A value for each layer, where all have one or each its own. Raises ZooError where it is not known."""
    value = default if params.get(key) is None else params[key]
    if value is None:
        raise ZooError(f"--to wildpark needs {key} of the models, of which params.json says nothing")
    if isinstance(value, list) and len(value) != layers:
        raise ZooError(f"--to wildpark: {key} has {len(value)} values for {layers} convolutions")
    return value if isinstance(value, list) else [value] * layers


def write_states(zoo: Path, folder: Path, model: Model) -> int:
    for epoch, accuracy in model.results:
        path = folder / place(model.node, epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        saved = {
            "model": state(zoo, model.id, epoch, model.keys),
            "config": model.config,
            "last_result": {"test/acc": accuracy},
            "iteration": epoch,
        }
        path.write_bytes(files.torch_bytes(saved))
    return len(model.results)


FORMAT = Format(write, epochs="all")

"""What many models make of the same images: logits, predictions, activations of layers."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from joblib import cpu_count
from torch import Tensor, nn
from torch.func import functional_call, vmap
from tqdm import tqdm

from zoo.dataset import forward
from zoo.dataset.dataset import ZooDataset
from zoo.dataset.network import key_of
from zoo.engines import lanes
from zoo.format.architecture import Architecture

MODELS_AT_ONCE = 64  # of the engine: four full packs of the widest registers
STATES_AT_ONCE = 1024  # read from the file
BYTES = 2**27  # of logits or activations at once
VMAP_MODELS, VMAP_IMAGES = 32, 256  # at once

UNSEEN = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.Flatten, nn.Identity)
"""Layers that in evaluation change nothing but shapes: models with and without them have the same activations."""

_predictions: WeakKeyDictionary[ZooDataset, dict[Any, np.ndarray]] = WeakKeyDictionary()


@dataclass(frozen=True)
class States:
    """Which states are looked at: [count] each, of models (their ids) at epochs."""

    models: np.ndarray
    epochs: np.ndarray

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, places: Any) -> "States":
        return States(self.models[places], self.epochs[places])

    def rows(self, dataset: ZooDataset) -> np.ndarray:
        """Their row numbers among the dataset's weights."""
        return self.models * dataset.mapped.shape[1] + self.epochs

    def weights(self, dataset: ZooDataset) -> Tensor:
        """[count, length], read from the file."""
        return dataset.mapped.states(self.rows(dataset))


def logits(dataset: ZooDataset, states: States, images: Tensor) -> Iterator[tuple[np.ndarray, Tensor]]:
    """The outputs of the states' networks in evaluation mode: places among the states, and [places, images, classes].

    Some models at a time, on all cores: by the CPU engine where it can, else by PyTorch. Every place comes once.
    """
    for places in alike(dataset, states):
        network = dataset.untrained(int(states.models[places[0]]))
        for part in forward.chunks(len(places), STATES_AT_ONCE):
            chosen = places[part]
            weights = states[chosen].weights(dataset)
            for found, outputs in logits_of(network, dataset.architecture, weights, images):
                yield chosen[found], outputs


def logits_of(
    network: nn.Module, architecture: Architecture, weights: Tensor, images: Tensor
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """The same of networks that differ in nothing but their weights [models, length]."""
    layers = engine_layers(network, images)
    parts = by_torch if layers is None else by_engine
    return parts(layers or [network], architecture, weights, images)


def alike(dataset: ZooDataset, states: States) -> list[np.ndarray]:
    """The places of states whose networks differ in nothing but weights, together."""
    groups: dict[Any, list[int]] = {}
    variants = dataset.models["variant"]
    by_model = {
        model: (variants.iat[model], key_of(dataset.source, model)) for model in np.unique(states.models).tolist()
    }
    for place, model in enumerate(states.models.tolist()):
        groups.setdefault(by_model[model], []).append(place)
    return list(map(np.array, groups.values()))


def engine_layers(network: nn.Module, images: Tensor) -> list[nn.Module] | None:
    """The layers for the CPU engine; None if it can't compute this network."""
    if not lanes.available() or images.device.type != "cpu" or not len(images):
        return None
    try:
        layers = lanes.chain(network)
    except lanes.Unsupported:
        return None
    return layers if lanes.supported(layers, images.shape[1:]) is None else None


def by_engine(
    layers: Sequence[nn.Module], architecture: Architecture, weights: Tensor, images: Tensor
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Each thread computes a few packs at a time: the engine leaves the interpreter to others meanwhile."""
    bytes_of_one = 4 * lanes.classes(layers, images.shape[1:]) * len(images)
    size = max(1, min(MODELS_AT_ONCE, -(-len(weights) // cpu_count()), BYTES // bytes_of_one))
    images, trained = images.contiguous(), parameters(architecture, weights)

    def outputs(part: np.ndarray) -> Tensor:
        engine = lanes.Engine(layers, images.shape[1:], len(part))
        engine.parameters = trained[part]
        return torch.from_numpy(engine.outputs(images))

    places = np.arange(len(weights))
    parts = [places[part] for part in forward.chunks(len(weights), size)]
    yield from zip(parts, in_threads(outputs, parts), strict=True)


def in_threads(job: Callable[[np.ndarray], Tensor], parts: Sequence[np.ndarray]) -> Iterator[Tensor]:
    """The results in order, few of which are there before they are asked for."""
    count = cpu_count()
    with ThreadPoolExecutor(count) as threads:
        begun = [threads.submit(job, part) for part in parts[:count]]
        for following in range(len(parts)):
            yield begun.pop(0).result()
            if following + count < len(parts):
                begun.append(threads.submit(job, parts[following + count]))


def by_torch(
    networks: Sequence[nn.Module], architecture: Architecture, weights: Tensor, images: Tensor
) -> Iterator[tuple[np.ndarray, Tensor]]:
    many, places = forward.Many(networks[0], architecture), np.arange(len(weights))
    for part in forward.chunks(len(weights), VMAP_MODELS):
        yield places[part], many.outputs(weights[part], images, VMAP_IMAGES)


def parameters(architecture: Architecture, weights: Tensor) -> Tensor:
    """Of weights [..., length], those that are trained [..., parameters]: without the running statistics of norms."""
    parts = [(entry.start, entry.length) for entry in architecture.tensors if entry.kind == "parameter"]
    if sum(length for _, length in parts) == architecture.length:
        return weights
    return torch.cat([weights[..., start : start + length] for start, length in parts], dim=-1)


def predictions(dataset: ZooDataset, states: States, images: Tensor, progress: str = "predicting") -> np.ndarray:
    """The class [states, images] that each model finds most likely. What was asked for before is known still."""
    known = _predictions.setdefault(dataset, {})
    key = (states.rows(dataset).tobytes(), images.data_ptr(), tuple(images.shape))
    if key not in known:
        found: np.ndarray | None = None
        with tqdm(total=len(states), desc=progress, unit="model") as bar:
            for places, outputs in logits(dataset, states, images):
                if found is None:
                    classes = outputs.shape[2]
                    found = np.empty((len(states), len(images)), np.uint8 if classes <= 256 else np.int32)
                found[places] = outputs.argmax(2).numpy()
                bar.update(len(places))
        known[key] = np.empty((0, len(images)), np.uint8) if found is None else found
    return known[key]


def activations(dataset: ZooDataset, states: States, images: Tensor) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
    """What each layer gives in evaluation mode: places among the states, and by layer [places, images, *shape].

    Layers are called as in the networks of the first states; those that then only pass on their input are left out.
    The last are the logits. Give few images: the activations of some models on all of them are in memory at once.
    """
    names: list[str] | None = None
    for places in alike(dataset, states):
        network = dataset.untrained(int(states.models[places[0]]))
        size = models_for(network, images)
        for part in forward.chunks(len(places), size):
            chosen = places[part]
            found = layer_outputs(network, dataset, states[chosen].weights(dataset), images)
            names = names or list(found)
            yield chosen, dict(zip(names, found.values(), strict=True))


@torch.no_grad()
def models_for(network: nn.Module, images: Tensor) -> int:
    """How many models' activations are computed at once."""
    with recording(network) as outputs:
        network(images[:1])
    return max(1, BYTES // (4 * len(images) * sum(output.numel() for output in outputs.values())))


@torch.no_grad()
def layer_outputs(network: nn.Module, dataset: ZooDataset, weights: Tensor, images: Tensor) -> dict[str, Tensor]:
    """By layer [models, images, *shape], of weights [models, length]."""

    def of_one(state: dict[str, Tensor]) -> dict[str, Tensor]:
        with recording(network) as outputs:
            functional_call(network, state, (images,))
        return outputs

    return vmap(of_one)(forward.Many(network, dataset.architecture).stacked(weights))


@contextmanager
def recording(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """What the layers give, by name, in the order in which they are called."""
    outputs: dict[str, Tensor] = {}
    hooks = []
    for name, layer in network.named_modules():
        if any(layer.children()) or isinstance(layer, UNSEEN):
            continue

        def note(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            if isinstance(output, Tensor):
                outputs[name or type(module).__name__] = output.clone()  # the next layer may work in place

        hooks.append(layer.register_forward_hook(note))
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()

"""SANE's prepared token files (Schürholt et al. 2024): a file per window of a state's tokens."""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.dataset.dataset import SPLITS
from zoo.dataset.transforms.blocks import Block, blocks
from zoo.dataset.transforms.standardise import moments
from zoo.dataset.transforms.tokens import channel_places, chunked, positions
from zoo.disk import files
from zoo.errors import ZooError
from zoo.exports import canonical
from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.exports.many_files import opened, write_all
from zoo.format.architecture import Architecture

PROPERTIES = ["test_acc", "training_iteration", "ggap"]
STATES_A_TASK = 64


@dataclass(frozen=True)
class Tokens:
    """How vectors fall into tokens."""

    places: np.ndarray  # [tokens, width] of a token's numbers in the vector, -1 where there is none
    positions: np.ndarray  # int16 [tokens, 3]: of the token, of its layer, of its channel
    mean: np.ndarray  # [tokens, 1], by which the token's layer is standardised
    std: np.ndarray
    starts: list[int]  # of the windows
    window: int  # tokens in each


@dataclass(frozen=True)
class Task:
    split: str
    number: int  # of the first sample
    rows: np.ndarray  # of the zoo's weights
    properties: np.ndarray  # float32 [rows, PROPERTIES]


def write(content: Content, folder: Path, options: Options) -> None:
    layers = layers_of(content.architecture)
    norms = statistics(content, layers)
    tokens = tokens_of(layers, norms, options)
    for split in SPLITS:
        (folder / f"dataset_torch.{split}").mkdir()
        files.write_json(folder / f"dataset_info_{split}.json", info(content, split, tokens, options))
        files.write_json(folder / f"dataset_normalization_{split}.json", {**norms, "mode": "standardize"})
    job = functools.partial(write_samples, content.zoo, folder, tokens)
    write_all(job, list(tasks(content, len(tokens.starts))), len(content) * len(tokens.starts), "sample")


def layers_of(architecture: Architecture) -> dict[str, Block]:
    """Weights with their biases, by the weight's key. Norms, whose weights are vectors, are left out, as SANE can."""
    keys = canonical.keys(architecture, 0)
    layers = {
        keys[architecture.tensors.index(block.tensor)]: block for block in blocks(architecture) if is_layer(block)
    }
    if not layers:
        raise ZooError("--to sane: the models have no layer with a matrix of weights")
    return layers


def is_layer(block: Block) -> bool:
    return block.tensor.name == "weight" and len(block.tensor.shape) > 1


def statistics(content: Content, layers: dict[str, Block]) -> dict[str, dict[str, float]]:
    """Mean and deviation of each layer's numbers over the states of the training split: of their means, and squared."""
    train = np.flatnonzero(content.splits == "train")
    if not len(train):
        raise ZooError(f"no model of {content.zoo} is in the split train, which tokens are standardised by")
    parts = (torch.from_numpy(content.weights(rows)) for rows in content.pieces(train))
    means, variances = torch.stack([moments(list(layers.values()), part) for part in parts]).sum(0) / len(train)
    return {
        key: {"mean": mean, "std": math.sqrt(variance) or 1.0}
        for key, mean, variance in zip(layers, means.tolist(), variances.tolist(), strict=True)
    }


def tokens_of(layers: dict[str, Block], norms: dict[str, dict[str, float]], options: Options) -> Tokens:
    rows = [channel_places(block) for block in layers.values()]
    width = options.token_size or max(row.shape[1] for row in rows)
    cuts = [chunked(row, width) for row in rows]  # each [tokens, width]
    counts = [len(layer) for layer in cuts]
    of_layers = {key: np.repeat([norms[name][key] for name in layers], counts) for key in ("mean", "std")}
    window = min(options.window or sum(counts), sum(counts))
    return Tokens(
        torch.cat(cuts).numpy(),
        positions(rows, width).numpy(),
        of_layers["mean"].astype(np.float32)[:, None],
        of_layers["std"].astype(np.float32)[:, None],
        starts(sum(counts), window),
        window,
    )


def starts(tokens: int, window: int) -> list[int]:
    """One window after the other; the last one reaches back, so that it is whole, too."""
    return [*range(0, tokens - window, window), tokens - window]


def tasks(content: Content, windows: int) -> Iterator[Task]:
    table = content.states.assign(training_iteration=content.states["epoch"])[PROPERTIES].to_numpy(np.float32)
    for split in SPLITS:
        rows = np.flatnonzero(content.splits == split)
        for first in range(0, len(rows), STATES_A_TASK):
            part = rows[first : first + STATES_A_TASK]
            yield Task(split, first * windows, content.places(part), table[part])


def write_samples(zoo: Path, folder: Path, tokens: Tokens, task: Task) -> int:
    number = task.number
    for vector, properties in zip(opened(zoo).mapped.states(task.rows).numpy(), task.properties, strict=True):
        for sample in samples(vector, properties, tokens):
            path = folder / f"dataset_torch.{task.split}" / f"sample_{number}.pt"
            path.write_bytes(files.torch_bytes(sample))
            number += 1
    return number - task.number


def samples(vector: np.ndarray, properties: np.ndarray, tokens: Tokens) -> Iterator[dict[str, torch.Tensor]]:
    """The windows of a state: w [window, width], m alike, p [window, 3], props."""
    mask = tokens.places >= 0
    standardised = np.where(mask, (vector[tokens.places] - tokens.mean) / tokens.std, np.float32(0))
    for start in tokens.starts:
        part = slice(start, start + tokens.window)
        arrays = {"w": standardised[part], "m": mask[part], "p": tokens.positions[part], "props": properties}
        yield {key: torch.from_numpy(array.copy()) for key, array in arrays.items()}


def info(content: Content, split: str, tokens: Tokens, options: Options) -> dict[str, Any]:
    """What SANE's trainer and samplers look up."""
    return {
        "zoo_path": content.zoo.resolve().name,
        "num_samples": int((content.splits == split).sum()),
        "supersample": len(tokens.starts),
        "properties": PROPERTIES,
        "property_keys": {"result_keys": PROPERTIES, "config_keys": []},
        "epoch_list": sorted(content.states["epoch"].unique().tolist()),
        "map_to_canonical": False,
        "permutation_number": 0,
        "permutations_per_sample": 0,
        "standardize": True,
        "ignore_bn": True,
        "tokensize": tokens.places.shape[1],
        "windowsize": tokens.window,
        "split": split,
        "max_positions": tokens.positions.max(axis=0).tolist(),
    }


FORMAT = Format(write, epochs="last", options=("window", "token_size"))

"""Exports of a file per state: written by all cores, with a progress bar."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from joblib import cpu_count
from torch import Tensor
from tqdm import tqdm

from zoo.disk import paths
from zoo.format.architecture import Architecture
from zoo.format.weights import Weights
from zoo.processes import mapping

FILES_A_PROCESS = 10_000  # which takes as long to write as a process to start

Task = TypeVar("Task")


def write_all(job: Callable[[Task], int], tasks: Sequence[Task], files: int, unit: str) -> None:
    """Do the job for every task, each of which returns how many of the `files` it wrote."""
    processes = max(1, min(cpu_count(), files // FILES_A_PROCESS))
    with mapping(job, processes) as done, tqdm(total=files, desc="exporting", unit=unit) as progress:
        for count in done(tasks):
            progress.update(count)


@functools.cache
def opened(zoo: Path) -> tuple[Architecture, Weights]:
    """A zoo's weights, mapped once by each process."""
    return Architecture.load(paths.architecture(zoo)), Weights(zoo)


def state(zoo: Path, model: int, epoch: int, keys: Sequence[str]) -> dict[str, Tensor]:
    """A state dict with these keys. Its tensors are copies: of a view, torch.save writes the whole storage."""
    architecture, weights = opened(zoo)
    tensors = architecture.unflatten(weights.state(model, epoch), 0).values()
    return {key: tensor.clone() for key, tensor in zip(keys, tensors, strict=True)}

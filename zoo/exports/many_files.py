"""Exports of a file per state: written by all cores, with a progress bar."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from joblib import cpu_count
from torch import Tensor
from tqdm import tqdm

from zoo.dataset.dataset import ZooDataset
from zoo.processes import mapping

FILES_A_PROCESS = 5_000  # which takes as long to write as a process to start

Task = TypeVar("Task")


def write_all(job: Callable[[Task], int], tasks: Sequence[Task], files: int, unit: str) -> None:
    """Do the job for every task, each of which returns how many of the `files` it wrote."""
    opened.cache_clear()  # a zoo may have been made anew since the last export
    processes = max(1, min(cpu_count(), files // FILES_A_PROCESS))
    with mapping(job, processes) as done, tqdm(total=files, desc="exporting", unit=unit) as progress:
        for count in done(tasks):
            progress.update(count)


@functools.lru_cache(maxsize=1)
def opened(zoo: Path) -> ZooDataset:
    """The zoo, opened once by each process."""
    return ZooDataset(zoo)


def state(zoo: Path, model: int, epoch: int, keys: Sequence[str]) -> dict[str, Tensor]:
    """A state dict with these keys. Its tensors are copies: of a view, torch.save writes the whole storage."""
    dataset = opened(zoo)
    tensors = dataset.architecture.unflatten(dataset.mapped.state(model, epoch), 0).values()
    return {key: tensor.clone() for key, tensor in zip(keys, tensors, strict=True)}

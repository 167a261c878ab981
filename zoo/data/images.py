"""Prepared images: a file that says what it holds, memory-mapped by every process that loads it."""

import hashlib
import io
import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from zoo.data.errors import DataError
from zoo.disk.files import write_torch

SPLITS = ("trainset", "valset", "testset")

# Files whose digest this process has checked, by device, inode, size and time of change.
_checked: set[tuple[int, ...]] = set()


@dataclass(frozen=True)
class Split:
    """`images` [n, channels, height, width] float32, normalised; `labels` [n] int64, counted from 0."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Images:
    """A data set as models see it; `mean` and `std`, per channel, are what pixels in [0, 1] were normalised by."""

    name: str
    trainset: Split
    valset: Split  # may be empty, as may the next
    testset: Split
    split_seed: int
    classes: list[str]
    mean: list[float]
    std: list[float]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all tensors and plain values: equal if and only if the images are. Loaded ones know theirs."""
        return _digest(self)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all, as a dict of tensors and plain values, with their digest."""
        content: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        content |= {name: vars(content[name]) for name in SPLITS}
        try:
            write_torch(path, content | {"digest": _digest(self)})  # anew: tensors can be changed in place
        except (OSError, RuntimeError) as error:
            raise DataError(f"cannot write {path} ({error}): is the disk full, or the folder read-only?") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Memory-map what `save` wrote: processes that load the same file share its memory.

        Each process reads a file once in full, to compare it with its digest (version 0.1.0 wrote none).
        Raises DataError for a file that is missing, damaged, or holds something else.
        """
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing: run the training command to make it, or get it anew") from error
        except OSError as error:
            raise _damaged(path, error) from error
        return cls._load(path, path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))

    @classmethod
    def load_from(cls, path: Path, content: io.BytesIO) -> Self:
        """The same from the content of a file that lies in an archive: `path` names it in errors."""
        return cls._load(path, content, None)

    @classmethod
    def _load(cls, path: Path, file: Path | io.BytesIO, identity: tuple[int, ...] | None) -> Self:
        try:
            saved = torch.load(file, mmap=isinstance(file, Path), weights_only=True)
            digest = saved.pop("digest", None)
            images = cls(**saved | {name: Split(**saved[name]) for name in SPLITS})
            _require_images(images)
            if digest is not None:
                if identity not in _checked and digest != _digest(images):
                    raise ValueError("its content has changed since it was written")
                if identity:
                    _checked.add(identity)
                vars(images)["digest"] = digest
            return images
        except Exception as error:  # torch raises whatever the damaged bytes lead to
            raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged or holds no images ({error}): delete it, then make it or get it anew")


def _require_images(images: Images) -> None:
    """Raise ValueError if any split has tensors of another kind than Split promises."""
    for name in SPLITS:
        split: Split = getattr(images, name)
        shape, count = split.images.shape, split.labels.shape
        right = len(shape) == 4 and tuple(count) == (shape[0],)
        if not right or split.images.dtype != torch.float32 or split.labels.dtype != torch.int64:
            raise ValueError(f"{name} has images {tuple(shape)} {split.images.dtype}, labels {tuple(count)}")


def _digest(images: Images) -> str:
    tensors = [tensor for name in SPLITS for tensor in vars(getattr(images, name)).values()]
    plain = {
        "name": images.name,
        "split_seed": images.split_seed,
        "classes": images.classes,
        "mean": [float(value) for value in images.mean],  # 0 and 0.0 are the same number
        "std": [float(value) for value in images.std],
        "tensors": [[str(tensor.dtype), *tensor.shape] for tensor in tensors],
    }
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for tensor in tensors:
        # the bytes where they lie, mapped or not
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()

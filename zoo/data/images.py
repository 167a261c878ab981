"""Prepared images: read, transformed, normalised and split once, then memory-mapped by every process."""

import hashlib
import json
import logging
import pickle
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import random_split

from zoo.data.errors import DataError
from zoo.disk.files import write_torch

if TYPE_CHECKING:  # zoo.data.sources imports torchvision, which those who only load images need not wait for
    from zoo.data.sources import Part, Source

SPLITS = ("trainset", "valset", "testset")
FITS = ("resize", "crop")
PLACES = ("root", "download", "cache")  # the options that change where files lie, not what the tensors hold

log = logging.getLogger(__name__)


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
    valset: Split  # may be empty
    testset: Split
    split_seed: int
    classes: list[str]
    mean: list[float]
    std: list[float]

    def save(self, path: Path) -> None:
        """Write the file whole or not at all, as a dict of tensors and plain values."""
        try:
            write_torch(path, vars(self) | {name: vars(getattr(self, name)) for name in SPLITS})
        except (OSError, RuntimeError) as error:
            raise DataError(f"cannot write {path} ({error}): is the disk full, or the folder read-only?") from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Memory-map what `save` wrote: processes that load the same file share its memory."""
        try:
            saved = torch.load(path, mmap=True, weights_only=True)
            return cls(**saved | {name: Split(**saved[name]) for name in SPLITS})
        except FileNotFoundError as error:
            raise DataError(f"{path} is missing: run the training command to make it, or get it anew") from error
        except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is damaged or holds no images ({error}): delete it, then make it or get it anew"
            ) from error


def prepare(data: Mapping[str, Any]) -> Path:
    """The file of the images that the config `data` asks for, in its cache folder; made if it is not there yet.

    `data` is plain and resolved, with the keys of conf/data/shared/base.yaml. Its file is named by all of them but
    PLACES, so raw files of another content need another `name`. Raises DataError.
    """
    path = Path(data["cache"]).expanduser() / f"{data['name']}-{_digest(data)}.pt"
    if not path.exists():
        _require_writable(path.parent)
        log.info("preparing %s in %s", data["name"], path)
        _make(data).save(path)
    return path


def _digest(data: Mapping[str, Any]) -> str:
    content = {key: value for key, value in data.items() if key not in PLACES}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _require_writable(folder: Path) -> None:
    """Fail before minutes of preparing rather than after them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error}): set data.cache to a folder that you can write to"
        ) from error


def _make(data: Mapping[str, Any]) -> Images:
    if data["fit"] not in FITS:
        raise DataError(f"unknown data.fit={data['fit']}: choose from {', '.join(FITS)}")
    if not len(data["mean"]) == len(data["std"]) == data["channels"]:
        raise DataError(f"data.mean and data.std need {data['channels']} values each, one per channel (data.channels)")
    from hydra.utils import get_method  # those who only load images have no use for it

    source = get_method(data["source"])(Path(data["root"]).expanduser(), data["download"])
    if len(source.classes) != data["classes"]:
        raise DataError(f"{data['name']} has {len(source.classes)} classes, but data.classes={data['classes']}")
    parts = _parts(source, data)
    # An empty split has no image to tell its shape.
    shape = (data["channels"], *_pixels(source.train[0][0], data).shape[1:])
    trainset, valset, testset = (_split(part, shape, data) for part in parts)
    return Images(
        name=data["name"],
        trainset=trainset,
        valset=valset,
        testset=testset,
        split_seed=data["split_seed"],
        classes=list(source.classes),
        mean=list(data["mean"]),
        std=list(data["std"]),
    )


def _parts(source: "Source", data: Mapping[str, Any]) -> list["Part"]:
    """Train, val and test: the official train part is shuffled and cut, the official test part keeps its order."""
    generator = torch.Generator().manual_seed(data["split_seed"])
    if source.test is None:
        sizes = _sizes(data, source.train, "train", "val", "test")
        return random_split(source.train, sizes, generator)
    _sizes(data, source.test, "test")
    return [*random_split(source.train, _sizes(data, source.train, "train", "val"), generator), source.test]


def _sizes(data: Mapping[str, Any], part: "Part", *splits: str) -> list[int]:
    """The sizes of the splits that a part is cut into; they must use it up."""
    sizes = [data[split] for split in splits]
    if sum(sizes) != len(part):
        options = " + ".join(f"data.{split}={size}" for split, size in zip(splits, sizes, strict=True))
        raise DataError(
            f"{data['name']}: {len(part)} images were found, but {options} needs {sum(sizes)}: "
            f"change these options, or complete the files in data.root={data['root']}"
        )
    return sizes


def _split(part: "Part", shape: tuple[int, ...], data: Mapping[str, Any]) -> Split:
    """The part's images, each [*shape], written one by one into the memory where they stay."""
    images, labels = torch.empty(len(part), *shape), torch.empty(len(part), dtype=torch.int64)
    for row in range(len(part)):
        image, label = part[row]
        pixels = _pixels(image, data)
        if pixels.shape != shape or not 0 <= label < data["classes"]:
            raise DataError(
                f"{data['name']}: found an image of shape {tuple(pixels.shape)} with label {label}, instead of {shape} "
                f"and a label below {data['classes']}: check data.channels, data.grayscale, data.size, data.classes"
            )
        images[row], labels[row] = pixels, label
    mean, std = (torch.tensor(data[key], dtype=torch.float32).view(-1, 1, 1) for key in ("mean", "std"))
    return Split(images.div_(255).sub_(mean).div_(std), labels)


def _pixels(image: Image.Image, data: Mapping[str, Any]) -> Tensor:
    """uint8 [channels, height, width]: what torchvision's Grayscale, Resize and CenterCrop make of a PIL image."""
    if data["grayscale"]:
        image = image.convert("L")
    if data["size"] is not None:
        image = _fit(image, data["size"], data["fit"])
    return torch.from_numpy(np.atleast_3d(np.array(image))).permute(2, 0, 1)


def _fit(image: Image.Image, size: int, fit: str) -> Image.Image:
    if image.size == (size, size):
        return image
    if fit == "resize":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in image.size)
    if min(left, top) < 0:
        raise DataError(f"data.fit=crop cannot cut {size} x {size} pixels out of {image.size}: use data.fit=resize")
    return image.crop((left, top, left + size, top + size))

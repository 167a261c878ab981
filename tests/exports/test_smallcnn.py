"""Contract B: the Small CNN Zoo's matrix, as NFN and those after it read it."""

import random
from ast import literal_eval
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.exports.conftest import EPOCHS, MODELS
from tests.exports.fabricated import SmallCNN, fabricate
from zoo import ZooDataset
from zoo.exports.formats.smallcnn import steps
from zoo.models.cnn import CNNSmall

Export = Callable[..., Path]


def read(out: Path, split: str) -> tuple[list[np.ndarray], list[np.ndarray], pd.DataFrame]:
    """Weights and biases by layer, in PyTorch's order of axes, and the metrics of a split, as NFN takes them."""
    order = pd.read_csv(out / "split.csv", header=None).to_numpy().ravel()
    metrics = pd.read_csv(out / "metrics.csv.gz").iloc[order]
    final = (metrics["step"] == 86).to_numpy()
    data, metrics = np.load(out / "weights.npy")[order][final], metrics[final]
    assert data.dtype == np.float32 and np.isfinite(data).all()
    half = len(data) // 2
    rest = list(range(half))
    random.Random(0).shuffle(rest)
    cut = int(0.8 * half)
    rows = {"train": rest[:cut], "val": rest[cut:], "test": list(range(half, len(data)))}[split]
    weights, biases = [], []
    for variable in pd.read_csv(out / "layout.csv").itertuples():
        array = data[rows, variable.start_idx : variable.end_idx].reshape(len(rows), *literal_eval(variable.shape))
        if variable.varname.endswith("kernel:0"):
            weights.append(array.transpose((0, 4, 3, 1, 2) if array.ndim == 5 else (0, 2, 1)))
        else:
            assert variable.varname.endswith("bias:0")
            biases.append(array)
    return weights, biases, metrics.iloc[rows]


def test_final_states_are_read_by_split(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "smallcnn")
    dataset = ZooDataset(small_cnns)
    seen = []
    for split, count in (("train", 4), ("val", 2), ("test", 6)):
        weights, biases, metrics = read(out, split)
        assert len(metrics) == count and set(metrics["epoch"]) == {EPOCHS}
        for number, row in enumerate(metrics.to_dict("records")):
            state = list(dataset.state_dict(row["modeldir"], EPOCHS).values())
            assert all(np.array_equal(weights[layer][number], state[2 * layer]) for layer in range(4))
            assert all(np.array_equal(biases[layer][number], state[2 * layer + 1]) for layer in range(4))
            own = dataset.properties.set_index(["node", "epoch"]).loc[(row["modeldir"], EPOCHS)]
            assert row["test_accuracy"] == pytest.approx(own["test_acc"], abs=1e-15)
            assert (row["config.activation"], row["config.learning_rate"]) == (own["model.activation"], 0.1)
            seen.append(row["modeldir"])
    assert len(set(seen)) == MODELS


def test_layout_is_that_zoo_s(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "smallcnn")
    layout = pd.read_csv(out / "layout.csv")
    assert [0, *layout["end_idx"]] == [0, 16, 160, 176, 2480, 2496, 4800, 4810, 4970]
    assert layout["shape"].tolist()[:2] == ["(16,)", "(3, 3, 1, 16)"] and layout["shape"].iloc[-1] == "(16, 10)"
    metrics = pd.read_csv(out / "metrics.csv.gz")
    assert metrics["step"].tolist() == [0, 22, 43, 64, 86] * MODELS and len(np.load(out / "weights.npy")) == len(
        metrics
    )
    assert set(metrics["config.num_layers"]) == {3} and set(metrics["config.num_units"]) == {16}


@pytest.mark.parametrize("max_epochs", [1, 2, 50, 86, 200])
def test_only_the_last_epoch_is_the_final_step(max_epochs: int) -> None:
    made = steps(np.arange(max_epochs + 1), max_epochs)
    assert made[-1] == 86 and made[0] == 0 and (made[:-1] < 86).all() and (np.diff(made) >= 0).all()
    if max_epochs == 86:
        assert made.tolist() == list(range(87))


def test_a_flattened_map_is_in_tensorflow_s_order(export: Export, tmp_path: Path) -> None:
    """What TensorFlow computes: its images, and so what it flattens, have the channels last."""
    zoo = fabricate(tmp_path / "cnn", CNNSmall(1), [{"optim.lr": 0.1}] * 4, 1)
    weights, biases, metrics = read(export(zoo, "smallcnn"), "test")
    model = CNNSmall(1)
    model.load_state_dict(ZooDataset(zoo).state_dict(metrics["modeldir"].iloc[0], 1))
    images = torch.randn(3, 1, 28, 28)
    ours = [torch.from_numpy(array[0].copy()) for array in weights]
    bias = [torch.from_numpy(array[0].copy()) for array in biases]
    x = images
    for layer in range(2):
        x = torch.tanh(F.max_pool2d(F.conv2d(x, ours[layer], bias[layer]), 2))
    x = torch.tanh(F.conv2d(x, ours[2], bias[2])).permute(0, 2, 3, 1).flatten(1)
    x = F.linear(torch.tanh(F.linear(x, ours[3], bias[3])), ours[4], bias[4])
    assert torch.allclose(x, model(images), rtol=1e-4, atol=1e-3)


def test_the_split_follows_from_names_alone(export: Export, small_cnns: Path, tmp_path: Path) -> None:
    zoo = fabricate(tmp_path / "fewer", SmallCNN(), [{"optim.lr": 0.1}] * 6, EPOCHS)
    orders = []
    for folder in (zoo, small_cnns):
        out = export(folder, "smallcnn", "--epochs", "last")
        names = pd.read_csv(out / "metrics.csv.gz")["modeldir"]
        orders.append(names.iloc[np.loadtxt(out / "split.csv", dtype=int)].tolist())
    assert orders[0] == [name for name in orders[1] if name in orders[0]] != sorted(orders[0])


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (nn.Conv2d(1, 2, 3, bias=False), "this is a Conv2d with weight"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), "this is a BatchNorm2d with weight, bias, running_mean"),
        (nn.Sequential(nn.Linear(4, 3), nn.Linear(5, 2)), "this is a Linear of 5 inputs, after one that gives 3"),
    ],
)
def test_what_it_can_t_hold_is_an_error(export: Export, tmp_path: Path, model: Any, why: str) -> None:
    zoo = fabricate(tmp_path / "zoo", model, [{"optim.lr": 0.1}] * 2, 1)
    with pytest.raises(SystemExit, match=why):
        export(zoo, "smallcnn")

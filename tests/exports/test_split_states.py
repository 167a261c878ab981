"""Contracts C and D: JSON files of splits over files of states."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.exports.conftest import EPOCHS, MODELS
from tests.exports.fabricated import SmallCNN, fabricate
from zoo import ZooDataset
from zoo.models.cnn import CNNSmall

Export = Callable[..., Path]
SPLITS = ("train", "val", "test")


def test_labels_and_states_are_those_of_the_models(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "splits", "--label", "model.activation")
    splits = json.loads((out / "splits_absolute.json").read_text())
    labels = json.loads((out / "labels.json").read_text())
    assert labels == ["relu", "tanh"] and list(splits) == list(SPLITS)
    count = 0
    for split in SPLITS:
        dataset = ZooDataset(small_cnns, epochs=EPOCHS, split=split)
        part = splits[split]
        assert len(part["path"]) == len(part["label"]) == len(dataset)
        for path, label, score, (weights, properties) in zip(
            part["path"], part["label"], part["score"], dataset, strict=True
        ):
            state = torch.load(path)
            assert torch.equal(torch.cat([value.flatten() for value in state.values()]), weights)
            assert labels[int(label)] == properties["model.activation"] and score == properties["test_acc"]
            assert [key.rpartition(".")[2] for key in state] == ["weight", "bias"] * 4  # in forward order
            count += 1
    assert count == MODELS


def test_paths_are_from_the_folder_or_absolute(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "splits", "--epochs", "0,2")
    names = ("splits", "splits_absolute", "paths", "paths_absolute")
    files = {name: json.loads((out / f"{name}.json").read_text()) for name in names}
    for split in SPLITS:
        relative, absolute = files["splits"][split], files["splits_absolute"][split]
        assert [str(out / path) for path in relative["path"]] == absolute["path"]
        assert files["paths"][split] == relative["path"] and files["paths_absolute"][split] == absolute["path"]
        assert all((out / path).is_file() for path in relative["path"]) and set(relative["step"]) <= {0, 2}
        assert "label" not in relative


def test_keys_do_not_depend_on_dropout(export: Export, zoo: Path) -> None:
    out = export(zoo, "splits")
    assert len({tuple(torch.load(path)) for path in out.glob("states/*/*.pt")}) == 1


def test_labels_that_models_do_not_have_are_an_error(export: Export, small_cnns: Path) -> None:
    with pytest.raises(SystemExit, match="--label optim: models.csv has no such column, but id, node, epoch"):
        export(small_cnns, "splits", "--label", "optim")


class ParkCNN(nn.Module):
    """A network of the Wild Park, of what is said of it."""

    def __init__(self, config: dict[str, Any]):
        super().__init__()
        self.config = config
        channels = config["channels"]
        geometry = zip(config["kernel_size"], config["stride"], config["padding"], strict=True)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[number], channels[number + 1], *numbers) for number, numbers in enumerate(geometry)
        )
        self.fc = nn.Linear(channels[-1], config["n_classes"])

    def forward(self, x: Tensor) -> Tensor:
        for layer, activation in zip(self.layers, self.config["activation"], strict=True):
            x = {"relu": F.relu, "tanh": torch.tanh}[activation](layer(x))
        return self.fc(x.mean(dim=(2, 3)))


def test_networks_of_the_wild_park_compute_what_ours_do(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "wildpark")
    splits = json.loads((out / "splits.json").read_text())
    images, dataset = torch.randn(2, 1, 32, 32), ZooDataset(small_cnns)
    paths = [path for split in SPLITS for path in splits[split]["path"]]
    scores = [score for split in SPLITS for score in splits[split]["score"]]
    assert len(paths) == MODELS * (EPOCHS + 1)
    for path, score in zip(paths, scores, strict=True):
        saved = torch.load(out / path)
        node, epoch = Path(path).parts[-2], saved["iteration"]
        network = ParkCNN(saved["config"])
        network.load_state_dict(saved["model"])
        own = SmallCNN()
        own.load_state_dict(dataset.state_dict(node, epoch))
        if saved["config"]["activation"] == ["relu"] * 3:
            assert torch.allclose(network(images), own(images), rtol=1e-4, atol=1e-4)
        assert saved["last_result"]["test/acc"] == score
    assert saved["config"] == {
        **{"n_layers": 3, "n_classes": 10, "channels": [1, 16, 16, 16], "kernel_size": [3, 3, 3], "stride": [2, 2, 2]},
        **{"padding": [1, 1, 1], "residual": [-1, -1, -1], "activation": saved["config"]["activation"]},
    }


def test_what_the_wild_park_can_t_hold_is_an_error(export: Export, tmp_path: Path) -> None:
    zoo = fabricate(tmp_path / "cnn", CNNSmall(1), [{"model.activation": "relu"}] * 2, 1)
    with pytest.raises(SystemExit, match="then an average over the map, then one linear layer alone"):
        export(zoo, "wildpark")
    strideless = fabricate(tmp_path / "strideless", SmallCNN(), [{"model.activation": "relu"}] * 2, 1)
    with pytest.raises(SystemExit, match=r"--to wildpark needs model\.stride of the models"):
        export(strideless, "wildpark")

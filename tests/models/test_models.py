"""Architectures against the figures of Schürholt et al. 2022."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from zoo.models.cnn import ACTIVATIONS, CNNLarge, CNNSmall
from zoo.models.resnet import ResNet18

MODELS = Path(__file__).parent.parent.parent / "zoo/models"


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def numbers(model: torch.nn.Module) -> list[int]:
    return [int(key.split(".")[1]) for key in model.state_dict() if key.endswith("weight")]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize(("channels", "parameters"), [(1, 2464), (3, 2864)])
def test_cnn_small(channels: int, parameters: int, dropout: float) -> None:
    model = CNNSmall(channels, dropout=dropout)
    assert count(model) == parameters
    assert numbers(model) == ([0, 4, 8, 11, 14] if dropout else [0, 3, 6, 9, 11])
    assert model(torch.zeros(2, channels, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_cnn_large(dropout: float) -> None:
    model = CNNLarge(3, dropout=dropout)
    assert count(model) == 10853
    assert numbers(model) == [0, 4, 8, 13, 16]
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_resnet18() -> None:
    model = ResNet18(3, classes=100)
    # torchvision's ResNet-18 has 11,689,512 with 1000 classes and a 7x7 first convolution
    assert count(model) == 11_689_512 - 900 * 513 - 64 * 3 * (49 - 9)
    assert model.conv1.weight.shape == (64, 3, 3, 3)
    assert model.state_dict()["layer4.1.conv2.weight"].shape == (512, 512, 3, 3)
    # without first pool and stride, the last stage still sees an eighth of the image
    features = torch.nn.Sequential(*list(model.children())[:-2])
    assert features(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 8, 8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_is_in_every_place(name: str) -> None:
    layers = CNNSmall(1, activation=name).module_list
    assert sum(type(layer) is ACTIVATIONS[name] for layer in layers) == 4


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match="unknown activation 'tahn': choose from tanh, relu"):
        CNNSmall(1, activation="tahn")


@pytest.mark.parametrize("source", ["cnn.py", "park.py", "resnet.py"])
def test_architectures_import_without_the_project(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo"]:
        monkeypatch.setitem(sys.modules, name, None)  # as if there were none: an import raises ImportError
    with pytest.raises(ImportError):
        import zoo  # noqa: F401
    copied = tmp_path / source
    copied.write_text((MODELS / source).read_text())
    assert runpy.run_path(str(copied))["nn"] is torch.nn

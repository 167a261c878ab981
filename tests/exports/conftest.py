"""A zoo of the Small CNN Zoo's network, and a way to call the command."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.exports.fabricated import SmallCNN, fabricate
from zoo import __main__
from zoo.models.cnn import CNNSmall

EPOCHS, MODELS = 4, 12


@pytest.fixture(scope="session")
def small_cnns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 models of 4 epochs, half of them with either activation. Read it; write elsewhere."""
    params = [
        {"model.activation": ("relu", "tanh")[number % 2], "model.stride": 2, "optim.lr": 0.1}
        for number in range(MODELS)
    ]
    return fabricate(tmp_path_factory.mktemp("zoos") / "small", SmallCNN(), params, EPOCHS)


@pytest.fixture(scope="session")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 models of 3 epochs, of which model 0 stopped after epoch 1, and model 5 diverged at epoch 2."""
    folder = tmp_path_factory.mktemp("gappy") / "zoo"
    return fabricate(folder, CNNSmall(1), [{"optim.lr": 0.1}] * 8, 3, scale={5: torch.inf}, lasts={0: 1, 5: 2})


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """`export(zoo, format, *options)`: the folder that `python -m zoo export` makes."""

    def run(zoo: Path, to: str, *options: str) -> Path:
        out = tmp_path / f"{to}_{zoo.name}"
        monkeypatch.setattr(sys, "argv", ["zoo", "export", str(zoo), "--to", to, str(out), *options])
        __main__.main()
        return out

    return run

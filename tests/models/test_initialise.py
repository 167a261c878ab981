"""Initial weights: their distributions, and that they are those of the released generator."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from zoo.node.build import build_model
from zoo.node.grid import Grid

# the standard deviation of every layer's weights, from fan-in and fan-out
EXPECTED = {
    "uniform": lambda fan_in, fan_out: 1 / math.sqrt(12),
    "normal": lambda fan_in, fan_out: 1.0,
    "kaiming_uniform": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    "kaiming_normal": lambda fan_in, fan_out: math.sqrt(2 / fan_in),
    "xavier_uniform": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
    "xavier_normal": lambda fan_in, fan_out: math.sqrt(2 / (fan_in + fan_out)),
}


@pytest.mark.parametrize("init", EXPECTED)
def test_distribution(grid: Callable[..., Grid], init: str) -> None:
    [node] = grid(f"init={init}", "seed=1")
    model = build_model(node.config)
    for layer in model.module_list:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            window = layer.weight[0, 0].numel()
            fan_in, fan_out = layer.weight.shape[1] * window, layer.weight.shape[0] * window
            error = 4 / math.sqrt(2 * layer.weight.numel())  # four standard errors of a standard deviation
            assert layer.weight.std().item() == pytest.approx(EXPECTED[init](fan_in, fan_out), rel=error)
            assert (layer.bias == 0.01).all()
    if init == "uniform":
        assert 0 <= model.module_list[0].weight.min() and model.module_list[0].weight.max() <= 1


def test_same_as_the_released_generator(grid: Callable[..., Grid]) -> None:
    """There: torch.manual_seed(seed), the layers in order, then each layer's weight drawn again by its init."""
    [node] = grid("init=kaiming_uniform", "seed=7")
    torch.manual_seed(7)
    layers = [nn.Conv2d(1, 8, 5), nn.Conv2d(8, 6, 5), nn.Conv2d(6, 4, 2), nn.Linear(36, 20), nn.Linear(20, 10)]
    for layer in layers:
        nn.init.kaiming_uniform_(layer.weight)
    weights = [value for key, value in build_model(node.config).state_dict().items() if key.endswith("weight")]
    for ours, layer in zip(weights, layers, strict=True):
        assert torch.equal(ours, layer.weight)


def test_batch_norm_keeps_its_own(grid: Callable[..., Grid]) -> None:
    [node] = grid("model=resnet18", "init=kaiming_uniform")
    model = build_model(node.config)
    assert (model.bn1.weight == 1).all() and (model.bn1.bias == 0).all()
    assert (model.fc.bias == 0.01).all()

"""s(W), against numpy."""

import numpy as np
import pytest
import torch

from tests.dataset.transforms.networks import NETWORKS, made, vector
from zoo.dataset.transforms import Statistics
from zoo.format.architecture import Architecture


@pytest.mark.parametrize("name", NETWORKS)
def test_each_tensor_has_seven(name: str) -> None:
    network = made(name)
    found = Statistics(Architecture.of(network))(vector(network))
    expected = []
    for parameter in network.parameters():
        values = parameter.detach().double().numpy().ravel()
        expected += [values.mean(), values.var(), *np.percentile(values, [1, 25, 50, 75, 99])]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_cnn_has_70_with_names() -> None:
    statistics = Statistics(Architecture.of(made("cnn_small")))
    assert len(statistics.names) == 70 and len(set(statistics.names)) == 70
    assert statistics.names[7:10] == [f"module_list.0.bias.{name}" for name in ("mean", "variance", "percentile_1")]


def test_batches_and_windows_are_as_each_state() -> None:
    statistics = Statistics(Architecture.of(made("mlp")))
    weights = torch.stack([vector(made("mlp", seed)) for seed in range(6)])
    found = statistics(weights)
    assert found.shape == (6, len(statistics.names))
    torch.testing.assert_close(found, torch.stack([statistics(model) for model in weights]))
    assert torch.equal(statistics(weights.view(2, 3, -1)), found.view(2, 3, -1))

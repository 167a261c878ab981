"""The Small CNN Zoo's network: its shape, and that it trains."""

from pathlib import Path

import pytest
import torch

from tests.conftest import train_sweep
from zoo.engines.lanes.chain import chain
from zoo.engines.lanes.layers import Unsupported, plan
from zoo.format.record import read_records, read_state
from zoo.models.cnn import CNNStrided


def test_it_has_4970_parameters_in_the_order_of_the_matrix() -> None:
    model = CNNStrided(dropout=0.5)
    assert sum(parameter.numel() for parameter in model.parameters()) == 4970
    places = [0, 3, 6, 11]
    assert list(model.state_dict()) == [f"module_list.{i}.{name}" for i in places for name in ("weight", "bias")]
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_its_last_layer_sees_the_mean_of_each_channel() -> None:
    model = CNNStrided(activation="tanh").eval()
    images = torch.rand(3, 1, 32, 32)
    maps = images
    for layer in model.module_list[:9]:
        maps = layer(maps)
    assert maps.shape == (3, 16, 4, 4)
    assert torch.allclose(model(images), model.module_list[11](maps.mean((2, 3))), atol=1e-6)


def test_the_engine_lanes_says_that_it_has_no_kernels_for_it() -> None:
    with pytest.raises(Unsupported):
        plan(chain(CNNStrided()), (1, 32, 32))


def test_it_trains(tmp_path: Path) -> None:
    [node] = train_sweep(tmp_path, "model=cnn_strided", "trainer.max_epochs=1", "init=xavier_normal")
    assert [record["training_iteration"] for record in read_records(node.run)] == [0, 1]
    before, after = (read_state(node.run, epoch)["module_list.0.weight"] for epoch in (0, 1))
    assert after.shape == (16, 1, 3, 3) and after.isfinite().all() and not torch.equal(before, after)

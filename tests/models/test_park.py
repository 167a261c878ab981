"""The networks of the CNN Wild Park: trained, made a zoo, exported, and read back."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import train_sweep
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.exports.export import export
from zoo.models.park import CNNPark
from zoo.node.build import build_model
from zoo.node.grid import Grid


def test_one_value_is_that_of_every_layer() -> None:
    one = CNNPark([3, 4, 8], 5, "gelu")
    each = CNNPark([3, 4, 8], [5, 5], ["gelu", "gelu"], [-1, -1], [1, 1], [2, 2])
    each.load_state_dict(one.state_dict())
    images = torch.rand(2, 3, 9, 9)
    assert torch.equal(one(images), each(images))
    assert one.layers[0](images).shape == (2, 4, 9, 9)


def test_a_residual_is_of_the_channels_that_both_have() -> None:
    network = CNNPark([1, 4, 2], 3, "none", [-1, 0])
    images = torch.rand(2, 1, 8, 8)
    first = network.layers[0](images)
    expected = network.fc((network.layers[1](first) + first[:, :2]).mean((2, 3)))
    assert torch.allclose(network(images), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"activation": ["relu"]}, "each layer needs its channels"),
        ({"activation": "tahn"}, "unknown activation 'tahn': choose from relu, gelu"),
        ({"residual": [0, -1]}, "are not of layers before"),
        ({"residual": 1}, "are not of layers before"),
    ],
)
def test_what_is_no_network(overrides: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CNNPark(**{"channels": [1, 4, 4], "kernel_size": 3, **overrides})


def test_names_have_the_activations_of_all_layers(grid: Callable[..., Grid]) -> None:
    typed = "model.activation=[relu,gelu,relu],[relu,gelu,gelu],tanh"
    nodes = list(grid("model=cnn_park", typed))
    assert [node.name.split("_")[0] for node in nodes] == ["relu-gelu", "relu-gelu", "tanh"]
    assert len({node.name for node in nodes}) == 3


def test_trained_exported_and_read_back(tmp_path: Path, without_drawing: None) -> None:
    """Each model computes what it did, with what the Wild Park says of it beside its state."""
    typed = ["model=cnn_park", "model.channels=[${data.channels},4,8,6]", "model.kernel_size=[3,5,3]"]
    wiring = ["model.residual=[-1,-1,0]", "model.stride=[2,1,1]", "model.activation=[relu,gelu,tanh],leaky_relu"]
    nodes = train_sweep(tmp_path, *typed, *wiring, "seed=0,1", "trainer.max_epochs=2", "zoo.name=park")
    make_zoo(nodes[0].sweep, tmp_path / "zoo")
    export(tmp_path / "zoo", "wildpark", tmp_path / "park")
    own, read = ZooDataset(tmp_path / "zoo"), ZooDataset(tmp_path / "park")
    assert len(own) == len(read) == 12
    images = torch.rand(3, 1, 32, 32)
    for node in nodes:
        for epoch in range(3):
            expected, found = own.model(node.name, epoch), read.model(node.name, epoch)
            assert isinstance(found, CNNPark)
            assert torch.equal(found(images), expected(images))
        assert not torch.equal(expected(images), build_model(node.config)(images))
    keys = ["node", "epoch", "test_acc"]
    table, twin = (dataset.properties[keys].sort_values(keys[:2]).reset_index(drop=True) for dataset in (own, read))
    assert table.equals(twin)
    assert read.models["model.activation"].astype(str).nunique() == 2

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.models.cnn import CNNLarge, CNNSmall
from zoo.models.resnet import ResNet18


def test_the_index_of_cnn_s_is_the_released_one() -> None:
    assert Architecture.of(CNNSmall(1)).index_dict() == {
        "layer": [0, 3, 6, 9, 11],
        "idx_start": [0, 208, 1414, 1514, 2254],
        "idx_length": [208, 1206, 100, 740, 210],
        "kernel_no": [8, 6, 4, 20, 10],
        "kernel_size": [25, 25, 4, 9, 1],
        "channels_in": [1, 8, 6, 4, 20],
    }


def test_the_index_of_cnn_l() -> None:
    index = Architecture.of(CNNLarge(3)).index_dict()
    assert index["layer"] == [0, 4, 8, 13, 16]
    assert index["kernel_size"] == [9, 9, 9, 4, 1]
    assert index["channels_in"] == [3, 16, 32, 15, 20]
    assert sum(index["idx_length"]) == 10853


def test_the_index_of_resnet_18_has_convolutions_and_the_linear_layer() -> None:
    with torch.device("meta"):
        network = ResNet18()
    architecture = Architecture.of(network)
    index = architecture.index_dict()
    assert len(index["layer"]) == 21 and index["layer"][0] == "conv1" and index["layer"][-1] == "fc"
    assert (index["channels_in"][-1], index["kernel_size"][-1], index["kernel_no"][-1]) == (512, 1, 10)
    assert index["idx_start"][1] == 3 * 64 * 9 + 4 * 64 + 1  # after the first convolution and its batch norm
    assert architecture.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert architecture.length == sum(value.numel() for value in network.state_dict().values())


def test_flatten_and_unflatten_a_state_with_buffers() -> None:
    def network() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten())

    trained = network()
    trained(torch.randn(4, 1, 5, 5))  # in train mode: moves the running statistics
    architecture = Architecture.of(trained)
    vector = architecture.flatten(trained.state_dict(), 0)
    assert vector.dtype == torch.float32 and vector[-1] == 1  # num_batches_tracked
    assert torch.equal(vector[:18], trained[0].weight.detach().flatten())
    state = architecture.unflatten(vector, 0)
    network().load_state_dict(state)
    for key, value in trained.state_dict().items():
        assert state[key].dtype == value.dtype and torch.equal(state[key], value)
    kinds = {f"{entry.layer}.{entry.name}": entry.kind for entry in architecture.tensors}
    assert kinds["0.weight"] == kinds["1.weight"] == "parameter"
    assert kinds["1.running_mean"] == kinds["1.num_batches_tracked"] == "buffer"


def test_variants_differ_in_their_keys_alone() -> None:
    plain, dropout = CNNSmall(1), CNNSmall(1, dropout=0.5)
    architecture = Architecture.of(plain)
    assert [architecture.include(dropout), architecture.include(plain), architecture.include(dropout)] == [1, 0, 1]
    vector = architecture.flatten(dropout.state_dict(), 1)
    plain.load_state_dict(architecture.unflatten(vector, 0))
    assert torch.equal(plain.module_list[11].weight, dropout.module_list[14].weight)
    with pytest.raises(ValueError, match="module_list.14.weight"):
        architecture.flatten(dropout.state_dict(), 0)
    with pytest.raises(ValueError, match=r"\[8, 3, 5, 5\]"):
        architecture.include(CNNSmall(3))
    with pytest.raises(ValueError, match=r"module_list.0.weight has shape \[8, 3, 5, 5\], not \[8, 1, 5, 5\]"):
        architecture.flatten(CNNSmall(3).state_dict(), 0)


def test_the_file_is_read_back(tmp_path: Path) -> None:
    architecture = Architecture.of(CNNSmall(1))
    architecture.include(CNNSmall(1, dropout=0.5))
    path = tmp_path / "architecture.json"
    architecture.save(path)
    assert Architecture.load(path) == architecture
    saved = json.loads(path.read_text())
    assert saved["layers"][0] == {"type": "Conv2d", "parameters": 208, "start": 0, "length": 208}
    assert saved["tensors"][1] == {
        "layer": 0,
        "name": "bias",
        "kind": "parameter",
        "shape": [8],
        "dtype": "float32",
        "start": 200,
        "length": 8,
    }
    for damage in ("{", "{}", "[]"):
        path.write_text(damage)
        with pytest.raises(ZooError, match="architecture.json is damaged"):
            Architecture.load(path)


class Buffered(torch.nn.Module):
    """A network with a buffer of any type."""

    def __init__(self, buffer: object):
        super().__init__()
        self.linear = torch.nn.Linear(1, 1)
        self.register_buffer("kept", torch.as_tensor(buffer))


@pytest.mark.parametrize(
    "buffer",
    [
        torch.tensor([True, False]),
        torch.tensor([1.5, -0.0, torch.inf, torch.nan], dtype=torch.float16),
        torch.tensor([3.0e38, 1e-40], dtype=torch.bfloat16),
        torch.tensor([0, 255], dtype=torch.uint8),
        torch.tensor([-128, 127], dtype=torch.int8),
        torch.tensor([-(2**15), 2**15 - 1], dtype=torch.int16),
        torch.tensor([-(2**31), 2**24, 2**30], dtype=torch.int32),
        torch.tensor([-(2**63), 2**24, 2**62, 3], dtype=torch.int64),
        torch.tensor([0.5, 2.0**100, torch.inf, torch.nan], dtype=torch.float64),
    ],
    ids=lambda buffer: str(buffer.dtype),
)
def test_numbers_that_float32_holds_come_back_as_they_were(buffer: torch.Tensor) -> None:
    model = Buffered(buffer)
    architecture = Architecture.of(model)
    state = architecture.unflatten(architecture.flatten(model.state_dict(), 0), 0)
    assert state["kept"].dtype == buffer.dtype and torch.equal(state["kept"].isnan(), buffer.isnan())
    assert torch.equal(state["kept"].nan_to_num(), buffer.nan_to_num())


@pytest.mark.parametrize(
    "buffer",
    [
        torch.tensor(2**24 + 1),
        torch.tensor(2**63 - 1),
        torch.tensor(2**31 - 1, dtype=torch.int32),
        torch.tensor([0.5, 0.1], dtype=torch.float64),
        torch.tensor(1e300, dtype=torch.float64),
        torch.tensor(1e-300, dtype=torch.float64),
    ],
    ids=str,
)
def test_numbers_that_float32_does_not_hold_are_refused(buffer: torch.Tensor) -> None:
    model = Buffered(buffer)
    architecture = Architecture.of(model)
    with pytest.raises(ZooError, match=rf"kept \({buffer.dtype}\) has numbers that float32"):
        architecture.flatten(model.state_dict(), 0)


def test_models_whose_numbers_float32_can_t_hold_are_refused() -> None:
    with pytest.raises(ZooError, match=r"linear.weight is trained as torch.float64, .* build the model in float32"):
        Architecture.of(Buffered(0.5).double())
    with torch.device("meta"), pytest.raises(ZooError, match="linear.weight is trained as torch.float64"):
        Architecture.of(Buffered(torch.zeros(())).double())
    with pytest.raises(ZooError, match=r"kept is torch.complex64: a zoo keeps dense tensors of float32"):
        Architecture.of(Buffered(1j))
    with pytest.raises(ZooError, match=r"kept is torch.float32: a zoo keeps dense tensors"):
        Architecture.of(Buffered(torch.eye(2).to_sparse()))
    architecture = Architecture.of(Buffered(0.5).bfloat16())
    assert [entry.dtype for entry in architecture.tensors] == ["bfloat16"] * 3


class Remembers(torch.nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"steps": 3}


def test_a_state_that_is_more_than_tensors_is_refused() -> None:
    with pytest.raises(ZooError, match=r"_extra_state is dict: a zoo keeps dense tensors"):
        Architecture.of(Remembers(1, 1))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([], "its keys are those of a list, not weight, bias"),
        (None, "its keys are those of a NoneType"),
        ({"weight": torch.zeros(1, 2), 3: torch.zeros(1)}, "its keys are weight, 3, not"),
        ({"weight": torch.zeros(1, 2), "bias": [0.0]}, "bias is list"),
        ({"weight": torch.zeros(1, 2), "bias": 0.0}, "bias is float"),
        ({"weight": torch.zeros(1, 2), "bias": torch.zeros(1).to_sparse()}, "bias is torch.float32: .* dense"),
        ({"weight": torch.zeros(1, 2), "bias": torch.zeros(1, dtype=torch.complex64)}, "bias is torch.complex64"),
        ({"weight": torch.zeros(1, 2), "bias": torch.zeros(1, device="meta")}, "bias has a shape, but no numbers"),
        ({"weight": torch.zeros(1, 2), "bias": torch.zeros(2)}, "bias has shape"),
    ],
)
def test_a_state_of_anything_else_is_refused(state: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture.of(torch.nn.Linear(2, 1)).flatten(state, 0)

"""The Small CNN Zoo's matrix, the Wild Park's splits, folders with labels."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.foreign import raw
from zoo.errors import ZooError
from zoo.foreign.opening import open_foreign, open_populations
from zoo.foreign.population import Population
from zoo.format.model_source import arguments
from zoo.models.cnn import CNNStrided
from zoo.models.park import CNNPark


def opened(path: Path) -> Population:
    found = open_foreign(path)
    assert found is not None
    return found


def test_the_matrix_of_the_small_cnn_zoo(tmp_path: Path) -> None:
    states = raw.small_cnn(tmp_path / "zoo")
    source = opened(tmp_path / "zoo")
    assert source.kind == "small_cnn" and source.weights.shape == (3, 5, 4970) and source.nodes == ["0", "1", "2"]
    network = CNNStrided()
    for (model, step), state in states.items():
        [row] = source.states[(source.states["step"] == step) & (source.states["id"] == int(model[-1]))].to_dict(
            "records"
        )
        found = source.architecture.unflatten(source.weights.state(row["id"], row["epoch"]), 0)
        network.load_state_dict(found)
        assert all(torch.equal(found[key], state[key]) for key in state)
        assert row["test_acc"] == step / 100
    assert source.models["model.activation"].tolist() == ["tanh", "relu", "tanh"]
    assert source.models["init"].tolist() == ["kaiming_normal"] * 3 and source.factors == [
        "model.activation",
        "optim.lr",
    ]
    assert source.params(1)["config"]["model"]["activation"] == "relu" and source.params(1)["num_layers"] == 3


def test_a_model_of_the_matrix_may_lack_steps(tmp_path: Path) -> None:
    raw.small_cnn(tmp_path / "zoo")
    weights, lines = np.load(tmp_path / "zoo" / "weights.npy"), metrics(tmp_path / "zoo")
    place = next(place for place, row in enumerate(lines[1:]) if row[:2] == ["/cns/x/42/1", "20"])
    np.save(tmp_path / "zoo" / "weights.npy", np.delete(weights, place, 0))
    write_metrics(tmp_path / "zoo", lines[: place + 1] + lines[place + 2 :])
    source = opened(tmp_path / "zoo")
    assert source.kept(1) == [0, 1, 2, 4] and source.weights.state(1, 3).isnan().all()


def metrics(folder: Path) -> list[list[str]]:
    import gzip

    with gzip.open(folder / "metrics.csv.gz", "rt", newline="") as file:
        return list(csv.reader(file))


def write_metrics(folder: Path, lines: list[list[str]]) -> None:
    import gzip

    with gzip.open(folder / "metrics.csv.gz", "wt", newline="") as file:
        csv.writer(file).writerows(lines)


def test_the_wild_park_is_a_population_for_each_architecture(tmp_path: Path) -> None:
    table = raw.wild_park(tmp_path / "park")
    found = open_populations(table)
    assert list(found) == ["conv_4k3_8k5", "conv_8k5_8k3_4k3"]
    source = found["conv_8k5_8k3_4k3"]
    assert source.nodes == ["trial_2", "trial_3"] and source.states["step"].tolist() == [4, 9, 4, 9]
    assert source.states["test_acc"].tolist() == [0.4, 0.9, 0.4, 0.9]
    choice = source.params(0)["config"]["model"]
    network = CNNPark(**arguments(choice))
    network.load_state_dict(source.architecture.unflatten(source.weights.state(0, 1), 0))
    saved = torch.load(tmp_path / "park" / "zoo" / "trial_2" / "checkpoint_000009" / "checkpoint.pt")
    assert all(torch.equal(value, saved["model"][key]) for key, value in network.state_dict().items())
    with pytest.raises(ZooError, match="models of 2 architectures"):
        open_foreign(table)


def test_the_network_of_the_wild_park_adds_what_both_layers_have() -> None:
    torch.manual_seed(0)
    network = CNNPark([3, 4, 8, 6], [3, 3, 3], ["relu", "tanh", "none"], [-1, -1, 0])
    images = torch.rand(2, 3, 8, 8)
    first = torch.relu(network.layers[0](images))
    third = network.layers[2](torch.tanh(network.layers[1](first)))
    third[:, :4] += first
    assert torch.allclose(network(images), network.fc(third.mean((2, 3))), atol=1e-6)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_folder_with_labels(tmp_path: Path, ending: str) -> None:
    states = {}
    for number in range(4):
        state = {"fc.weight": torch.full((2, 3), float(number)), "fc.bias": torch.rand(2)}
        name = f"nets/net{number}.{ending}"
        (tmp_path / "nets").mkdir(exist_ok=True)
        if ending == "pt":
            torch.save({"state_dict": state} if number else state, tmp_path / name)
        else:
            save_file(state, tmp_path / name)
        states[name] = state
    rows = [
        [name, number // 2, number % 2, "sgd" if number < 2 else "adam", 0.1, 0.5] for number, name in enumerate(states)
    ]
    raw.write_csv(tmp_path / "labels.csv", ["path", "model_id", "epoch", "optim", "optim.lr", "test_acc"], rows)
    source = opened(tmp_path)
    assert source.kind == "folder" and source.weights.shape == (2, 2, 8) and source.nodes == ["0", "1"]
    assert source.models["optim"].tolist() == ["sgd", "adam"] and source.factors == ["optim"]
    for number, state in enumerate(states.values()):
        order = source.architecture.variants[0]
        assert torch.equal(
            source.weights.state(number // 2, number % 2), torch.cat([state[key].flatten() for key in order])
        )
    assert source.states["test_acc"].tolist() == [0.5] * 4


def test_rows_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    torch.save({"w": torch.rand(2, 2)}, tmp_path / "a.pt")
    raw.write_csv(tmp_path / "labels.csv", ["path", "test_acc"], [["a.pt", 0.5], ["b.pt", 93.2]])
    source = opened(tmp_path)
    assert source.nodes == ["a"] and "no share from 0 to 1" in source.missing["b"]


def test_a_path_of_no_known_kind(tmp_path: Path) -> None:
    assert open_foreign(tmp_path) is None
    with pytest.raises(ZooError, match="no population of a known kind"):
        open_populations(tmp_path)
    with pytest.raises(ZooError, match="unknown kind 'parquet': choose from released"):
        open_populations(tmp_path, "parquet")
    raw.wild_park(tmp_path / "park")
    with pytest.raises(ZooError, match="holds no small_cnn population"):
        open_populations(tmp_path / "park", "small_cnn")
    (tmp_path / "x_splits.json").write_text(json.dumps({"train": {"path": ["a"], "step": ["0"]}}))
    with pytest.raises(ZooError, match=r"x_splits.json is no JSON of splits with path, score, step"):
        open_foreign(tmp_path / "x_splits.json")

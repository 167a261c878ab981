"""Populations made elsewhere, as data sets: the class is the same, and so is what it gives."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.foreign import raw
from tests.foreign.test_released import zipped
from zoo import ZooDataset
from zoo.curation.conversion import convert
from zoo.errors import ZooError
from zoo.models.park import CNNPark

pytestmark = pytest.mark.usefixtures("without_drawing")


@pytest.mark.parametrize("kind", ["released", "zip", "small_cnn"])
def test_a_population_gives_what_its_converted_zoo_gives(tmp_path: Path, kind: str) -> None:
    if kind == "small_cnn":
        raw.small_cnn(path := tmp_path / "raw")
    else:
        root = raw.released(tmp_path / "raw")
        path = zipped(root) if kind == "zip" else root
    convert(path, tmp_path / "zoo")
    found, zoo = ZooDataset(path), ZooDataset(tmp_path / "zoo")
    assert len(found) == len(zoo) and torch.equal(found.weights, zoo.weights) and found.factors == zoo.factors
    assert found.properties["test_acc"].tolist() == zoo.properties["test_acc"].tolist()
    assert found.properties["node"].tolist() == zoo.properties["node"].tolist()
    size = 32 if kind == "small_cnn" else 28
    images = torch.rand(3, 1, size, size)
    for model in (0, 1):  # without dropout, and with it
        assert torch.equal(found.model(model, 1)(images), zoo.model(model, 1)(images))
    copied = pickle.loads(pickle.dumps(found))
    assert torch.equal(copied[4][0], found[4][0])


def test_the_networks_of_a_converted_wild_park(tmp_path: Path) -> None:
    for zoo in convert(raw.wild_park(tmp_path / "park"), tmp_path / "zoos"):
        network = ZooDataset(zoo).model(1, 1)
        assert isinstance(network, CNNPark) and network(torch.rand(2, 3, 8, 8)).shape == (2, 10)


def as_linear(params: Mapping[str, Any]) -> torch.nn.Module:
    return torch.nn.Linear(3, params["classes"], bias=False)


def test_models_whose_class_is_not_known_need_one_to_be_networks(tmp_path: Path) -> None:
    weights = [torch.rand(2, 3) for _ in range(2)]
    for name, value in zip("ab", weights, strict=True):
        torch.save({"w": value}, tmp_path / f"{name}.pt")
    rows = [["a.pt", 0.5, 2], ["b.pt", 0.6, 2]]
    raw.write_csv(tmp_path / "labels.csv", ["path", "test_acc", "classes"], rows)
    dataset, images = ZooDataset(tmp_path), torch.rand(4, 3)
    for use in (lambda: dataset.model(0, 0), lambda: dataset.predict(images)):
        with pytest.raises(ZooError, match=r"params\.json of model 0 .* names no class of a network: give .* `build`"):
            use()
    assert torch.equal(dataset.state_dict(1)["w"], weights[1])
    given = ZooDataset(tmp_path, build=as_linear)
    assert torch.equal(given.model("b")(images), images @ weights[1].T)
    assert torch.allclose(pickle.loads(pickle.dumps(given)).predict(images), images @ torch.stack(weights).mT)
    for build, error in ((lambda _: 3, "gives a int"), (lambda _: torch.nn.Linear(1, 1), "tensors")):
        with pytest.raises(ZooError, match=error):
            ZooDataset(tmp_path, build=build).model(0)

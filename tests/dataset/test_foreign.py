"""Populations made elsewhere, as data sets: the class is the same, and so is what it gives."""

import pickle
from pathlib import Path

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


def test_models_whose_class_is_not_known_have_no_network(tmp_path: Path) -> None:
    torch.save({"w": torch.rand(2, 2)}, tmp_path / "a.pt")
    raw.write_csv(tmp_path / "labels.csv", ["path", "test_acc"], [["a.pt", 0.5]])
    dataset = ZooDataset(tmp_path)
    assert len(dataset) == 1
    with pytest.raises(ZooError, match=r"params\.json of model 0"):
        dataset.model(0, 0)

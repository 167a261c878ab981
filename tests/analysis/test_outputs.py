"""Outputs of many models: the same as one network after the other, whoever computes them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo import ZooDataset
from zoo.analysis import outputs
from zoo.analysis.outputs import States
from zoo.format.architecture import Architecture


@pytest.fixture(scope="module")
def dataset(zoo: Path) -> ZooDataset:
    return ZooDataset(zoo)


@pytest.fixture
def states() -> States:
    """Of models with dropout and without, in turn, at different epochs."""
    return States(np.array([7, 0, 4, 3, 1]), np.array([3, 0, 1, 3, 2]))


@torch.no_grad()
def one_by_one(dataset: ZooDataset, states: States, images: Tensor) -> Tensor:
    pairs = zip(states.models.tolist(), states.epochs.tolist(), strict=True)
    return torch.stack([dataset.model(model, epoch)(images) for model, epoch in pairs])


@pytest.mark.parametrize("engine", ["on", "off"])
def test_logits(dataset: ZooDataset, states: States, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "off":
        monkeypatch.setattr("zoo.engines.lanes.available", lambda: False)
    images = dataset.images().testset.images
    found = torch.full((5, len(images), 10), torch.nan)
    for places, part in outputs.logits(dataset, states, images):
        assert found[places].isnan().all()  # every place comes once
        found[places] = part
    torch.testing.assert_close(found, one_by_one(dataset, states, images), rtol=1e-4, atol=1e-5)


def test_more_models_than_are_computed_at_once(dataset: ZooDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.analysis.outputs.MODELS_AT_ONCE", 1)
    states, images = States(np.arange(8), np.full(8, 2)), dataset.images().testset.images
    found = outputs.predictions(dataset, states, images)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, one_by_one(dataset, states, images).argmax(2))


def test_predictions_are_made_once(dataset: ZooDataset, states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    images = dataset.images().testset.images
    found = outputs.predictions(dataset, states, images)
    monkeypatch.setattr("zoo.analysis.outputs.logits", None)
    assert outputs.predictions(dataset, states, images) is found


def test_activations(dataset: ZooDataset, states: States) -> None:
    images = dataset.images().testset.images[:7]
    found: dict[str, Tensor] = {}
    for places, layers in outputs.activations(dataset, states, images):
        for name, part in layers.items():
            found.setdefault(name, torch.full((5, *part.shape[1:]), torch.nan))[places] = part
    # convolution, pool and activation twice, a convolution and its activation, two linear layers with one between
    assert [list(layer.shape[2:]) for layer in found.values()][-3:] == [[20], [20], [10]] and len(found) == 11
    torch.testing.assert_close(found[list(found)[-1]], one_by_one(dataset, states, images), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        network = dataset.model(7, 3)
        first = network.module_list[0](images)
    torch.testing.assert_close(found["module_list.0"][0], first, rtol=1e-4, atol=1e-5)


def test_parameters_are_without_running_statistics() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.BatchNorm1d(2))
    architecture = Architecture.of(network)
    found = outputs.parameters(architecture, torch.arange(float(architecture.length)))
    assert found.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]  # then two means, two variances and a counter

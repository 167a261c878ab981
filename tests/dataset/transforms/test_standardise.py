"""Layers with mean 0 and deviation 1."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.dataset.transforms.networks import NETWORKS, made, vector
from zoo.dataset.transforms import Standardise
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.models.cnn import CNNSmall

ARCHITECTURE = Architecture.of(CNNSmall(1))


def population(count: int, seed: int = 0) -> torch.Tensor:
    scales = torch.linspace(0.1, 3, ARCHITECTURE.length)
    return scales * torch.randn(count, ARCHITECTURE.length, generator=torch.Generator().manual_seed(seed)) + scales


def test_means_and_deviations_are_those_of_weight_and_bias_together() -> None:
    weights = population(7)
    fitted = Standardise(ARCHITECTURE).fit(weights)
    assert fitted.means is not None and fitted.deviations is not None
    starts = [0, 208, 1414, 1514, 2254, 2464]
    for layer, (start, end) in enumerate(zip(starts, starts[1:], strict=False)):
        values = weights[:, start:end].double().numpy()
        assert float(fitted.means[layer]) == pytest.approx(np.mean([model.mean() for model in values]))
        variances = [model.var(ddof=1) for model in values]
        assert float(fitted.deviations[layer]) == pytest.approx(np.sqrt(np.mean(variances)))
        expected = (weights[:, start:end] - fitted.means[layer]) / fitted.deviations[layer]
        torch.testing.assert_close(fitted(weights)[:, start:end], expected.float())


def test_what_is_fitted_on_some_models_standardises_others() -> None:
    train, test = population(50), population(2, seed=1)
    standardise = Standardise(ARCHITECTURE).fit(train)
    assert standardise(train).mean().abs() < 1e-3 and 0.9 < standardise(test).std() < 1.1
    assert not torch.allclose(standardise(test), Standardise(ARCHITECTURE).fit(test)(test), atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_inverse(name: str) -> None:
    weights = torch.stack([vector(made(name, seed)) for seed in range(3)])
    standardise = Standardise(Architecture.of(made(name))).fit(weights)
    standardised = standardise(weights)
    assert standardised.isfinite().all() and standardised.dtype == torch.float32
    torch.testing.assert_close(standardise.inverse(standardised), weights)
    assert torch.equal(standardise(weights.view(3, 1, -1)).view(3, -1), standardised)
    assert torch.equal(standardise(weights[1]), standardised[1])


def test_running_statistics_are_layers_and_counters_stay() -> None:
    architecture = Architecture.of(nn.BatchNorm1d(2))
    weights = torch.tensor([[1.0, 3, 1, 3, 5, 5, 2, 4, 900]])
    standardise = Standardise(architecture).fit(weights)
    assert [block.key for block in standardise.blocks] == ["weight", "running_mean", "running_var"]
    root = torch.tensor([4 / 3, 2]).sqrt()
    expected = [-1 / root[0], 1 / root[0], -1 / root[0], 1 / root[0], 0, 0, -1 / root[1], 1 / root[1], 900]
    assert standardise(weights)[0].tolist() == pytest.approx(list(map(float, expected)))


def test_means_that_were_kept_can_be_used() -> None:
    weights = population(4)
    fitted = Standardise(ARCHITECTURE).fit(weights)
    assert fitted.means is not None and fitted.deviations is not None
    assert torch.equal(Standardise(ARCHITECTURE).use(fitted.means, fitted.deviations)(weights), fitted(weights))


def test_nothing_to_fit_to_is_an_error() -> None:
    standardise = Standardise(ARCHITECTURE)
    with pytest.raises(ZooError, match="this Standardise has no means yet: `fit` it"):
        standardise(population(1))
    for wrong in (population(0), population(1)[0]):
        with pytest.raises(ZooError, match=r"fit to weights \[samples, parameters\], one sample or more"):
            standardise.fit(wrong)
    for number in (torch.nan, torch.inf):
        damaged = population(2)
        damaged[1, 700] = number
        with pytest.raises(ZooError, match="fit to finite weights: leave out models that diverged"):
            standardise.fit(damaged)
    with pytest.raises(ZooError, match="weights of 3 numbers are none of a CNNSmall"):
        standardise.fit(torch.zeros(2, 3))

"""Noise and erasing."""

import pytest
import torch
from torch import nn

from tests.dataset.transforms.networks import made, vector
from zoo.dataset.transforms import Erase, Noise, Tokenise
from zoo.errors import ZooError
from zoo.format.architecture import Architecture

NETWORK = nn.Sequential(nn.Linear(400, 50), nn.BatchNorm1d(50), nn.ReLU(), nn.Linear(50, 100))
ARCHITECTURE = Architecture.of(NETWORK)
FIRST, NORM, BUFFERS, LAST = slice(0, 20050), slice(20050, 20150), slice(20150, 20251), slice(20251, None)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def weights() -> torch.Tensor:
    """Of deviation 2 and mean 5 in the first layer, 0.1 and 0 in the last."""
    drawn = torch.randn(ARCHITECTURE.length, generator=seeded(7))
    drawn[FIRST] = drawn[FIRST] * 2 + 5
    drawn[LAST] *= 0.1
    return drawn


@pytest.mark.parametrize(("unit", "first", "last"), [("absolute", 0.3, 0.3), ("layer", 0.6, 0.03)])
def test_noise_has_the_deviation(weights: torch.Tensor, unit: str, first: float, last: float) -> None:
    added = Noise(ARCHITECTURE, 0.3, unit, 0)(weights) - weights
    assert float(added[FIRST].std()) == pytest.approx(first, rel=0.03)
    assert float(added[LAST].std()) == pytest.approx(last, rel=0.05)
    assert float(added[FIRST].mean()) == pytest.approx(0, abs=first / 40)
    assert (added[BUFFERS] == 0).all() and (added[NORM] != 0).all()


def test_multiplicative_noise_is_a_share_of_each_weight(weights: torch.Tensor) -> None:
    noisy = Noise(ARCHITECTURE, 0.3, "weight", 0)(weights)
    share = noisy / weights - 1
    assert float(share[FIRST].std()) == pytest.approx(0.3, rel=0.03)
    assert float(share[LAST].std()) == pytest.approx(0.3, rel=0.05)
    assert torch.equal(noisy[BUFFERS], weights[BUFFERS])


def test_noise_of_layers_is_of_each_models_own(weights: torch.Tensor) -> None:
    batch = torch.stack([weights, weights * 10])
    added = Noise(ARCHITECTURE, 0.3, "layer", 0)(batch) - batch
    assert float(added[1, FIRST].std() / added[0, FIRST].std()) == pytest.approx(10, rel=0.03)


def test_weights_are_erased_each_by_itself(weights: torch.Tensor) -> None:
    erased = Erase(ARCHITECTURE, 0.2, seed=0)(weights)
    gone = erased == 0
    assert float(gone[FIRST].float().mean()) == pytest.approx(0.2, abs=0.01)
    assert torch.equal(erased[~gone], weights[~gone]) and not gone[BUFFERS].any()
    batch = Erase(ARCHITECTURE, 0.2, seed=0)(weights.expand(3, 2, -1))
    assert len(batch.flatten(0, 1).unique(dim=0)) == 6


def test_erased_channels_are_tokens() -> None:
    network = made("cnn_small")
    architecture = Architecture.of(network)
    tokens, mask, _ = Tokenise(architecture)(Erase(architecture, 0.3, "channels", 0)(vector(network)))
    gone = (tokens == 0).all(dim=1)
    assert 0 < gone.sum() < 48
    assert torch.equal((tokens == 0) & mask, gone.unsqueeze(1) & mask)


@pytest.mark.parametrize(("share", "left"), [(0.0, True), (1.0, False)])
def test_nothing_and_everything(weights: torch.Tensor, share: float, left: bool) -> None:
    for what in ("weights", "channels"):
        erased = Erase(ARCHITECTURE, share, what)(weights)
        assert bool((erased[FIRST] != 0).all()) == left and bool((erased[LAST] != 0).any()) == left
        assert torch.equal(erased[BUFFERS], weights[BUFFERS])


def test_unknown_choices_are_errors() -> None:
    with pytest.raises(ZooError, match="unknown unit of noise 'relative': choose from absolute, layer, weight"):
        Noise(ARCHITECTURE, 0.1, "relative")
    for share, what in ((1.5, "weights"), (0.5, "tokens")):
        with pytest.raises(ZooError, match=f"can't erase {share} of '{what}': give a share from 0 to 1, of weights or"):
            Erase(ARCHITECTURE, share, what)

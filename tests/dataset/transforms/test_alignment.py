"""Weight matching."""

import itertools

import pytest
import torch
from torch import Tensor, nn

from tests.dataset.transforms.networks import NETWORKS, RESNET18, made, outputs, randomised, vector
from zoo.dataset.transforms import Align, PermutationSpec, Permute
from zoo.dataset.transforms.alignment import Descent, product
from zoo.errors import ZooError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def aligned_copies(network: nn.Module, copies: int) -> tuple[Tensor, Tensor]:
    """Weights, and what becomes of permuted copies of them."""
    spec, weights = PermutationSpec.of(network), vector(network)
    permuted = Permute(spec, seed=0)(weights.expand(copies, -1))
    assert (permuted != weights).any(dim=1).float().mean() > 0.9
    return weights, Align(spec, weights)(permuted)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_permuted_copy_becomes_the_reference(name: str) -> None:
    weights, found = aligned_copies(made(name), copies=20)
    assert torch.equal(found, weights.expand(20, -1))


def test_a_permuted_copy_of_positive_weights_becomes_the_reference() -> None:
    """As uniform initialisation makes them: from the order at hand, half of these descents end elsewhere."""
    network = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
    weights = torch.rand(16 + 16 + 256 + 16 + 16 + 1, generator=seeded())
    outputs(network, weights, torch.zeros(1, 1))
    weights, found = aligned_copies(network, copies=50)
    assert torch.equal(found, weights.expand(50, -1))


@pytest.mark.slow
def test_a_permuted_copy_of_resnet18_becomes_the_reference() -> None:
    weights, found = aligned_copies(randomised(RESNET18[0], 0), copies=1)
    assert torch.equal(found[0], weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_stays_and_the_likeness_grows(name: str) -> None:
    network, shape = made(name), NETWORKS[name][1]
    models = torch.stack([vector(made(name, seed)) for seed in range(1, 6)])
    reference, images = vector(network), torch.randn(3, *shape, generator=seeded())
    found = Align(PermutationSpec.of(network), reference)(models)
    assert (product(reference, found) > product(reference, models)).all()
    for before, after in zip(models, found, strict=True):
        expected = outputs(network, before, images)
        torch.testing.assert_close(outputs(network, after, images), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["cnn_small", "residual", "narrow_resnet"])
def test_the_likeness_never_shrinks(name: str) -> None:
    """Nor does it where models are nearly in order already, and scales are far apart."""
    reference = vector(made(name))
    noise = torch.randn(5, len(reference), generator=seeded())
    models = torch.cat([reference + scale * noise for scale in (0.01, 1, 100)])
    found = Align(PermutationSpec.of(made(name)), reference)(models)
    assert (product(reference, found) >= product(reference, models)).all()


def test_each_step_is_a_gain_where_units_lie_on_both_axes_of_a_weight() -> None:
    """There the assignment is solved as if the other axis stayed, and may promise too much."""
    spec, models = PermutationSpec.of(made("residual")), torch.stack([vector(made("residual", n)) for n in range(60)])
    models[:, 78:114] *= 10  # the weight that is on both sides of the connection
    descent = Descent(spec, models[0], models)
    before = product(models[0], models)
    for _ in range(3):
        descent.improve(0, torch.arange(60))
        after = product(models[0], spec.permute(models, descent.orders))
        assert (after >= before).all()
        before = after


def test_one_hidden_layer_is_matched_as_well_as_can_be() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    spec = PermutationSpec.of(network)
    reference, *models = torch.randn(6, 26, generator=seeded())
    for model in models:
        orders = [torch.tensor(order) for order in itertools.permutations(range(4))]
        best = max(float(product(reference, spec.permute(model, [order]))) for order in orders)
        assert float(product(reference, Align(spec, reference)(model))) == pytest.approx(best)


def test_no_single_group_can_be_ordered_better() -> None:
    """Where the descent ends, for groups small enough to try every order."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2))
    spec = PermutationSpec.of(network)
    reference, model = torch.randn(2, 46, generator=seeded())
    found = Align(spec, reference)(model)
    reached = float(product(reference, found))
    for group, order in itertools.product(range(2), itertools.permutations(range(4))):
        permutations = spec.identity()
        permutations[group] = torch.tensor(order)
        assert float(product(reference, spec.permute(found, permutations))) <= reached + 1e-5


def test_a_model_does_not_depend_on_the_batch() -> None:
    spec, models = PermutationSpec.of(made("mlp")), torch.stack([vector(made("mlp", seed)) for seed in range(9)])
    align = Align(spec, models[0])
    assert torch.equal(align(models), torch.stack([align(model) for model in models]))
    assert torch.equal(align(models.view(3, 3, -1)), align(models).view(3, 3, -1))
    assert align(models[:0]).shape == (0, spec.length)


def test_epochs_of_a_model_get_the_order_of_the_last() -> None:
    spec = PermutationSpec.of(made("mlp"))
    reference, *rest = (vector(made("mlp", seed)) for seed in range(7))
    windows = torch.stack(rest).view(2, 3, -1)
    align = Align(spec, reference, window=True)
    orders = Align(spec, reference).match(windows[:, -1])
    expected = torch.stack([spec.permute(windows[:, epoch], orders) for epoch in range(3)], dim=1)
    assert torch.equal(align(windows), expected)
    assert torch.equal(align(windows[0]), expected[0])
    assert all(torch.equal(*pair) for pair in zip(align.match(windows), orders, strict=True))


def test_states_that_are_missing_stay_and_the_last_finite_one_is_matched() -> None:
    spec = PermutationSpec.of(made("mlp"))
    reference, first, second = (vector(made("mlp", seed)) for seed in range(3))
    missing = torch.full_like(first, torch.nan)
    diverged = second.clone()
    diverged[5] = torch.inf
    found = Align(spec, reference)(torch.stack([diverged, first]))
    assert torch.equal(found[0], diverged) and torch.equal(found[1], Align(spec, reference)(first))
    window = Align(spec, reference, window=True)(torch.stack([second, first, diverged, missing]))
    assert torch.equal(window[1], found[1]) and window[3].isnan().all() and not torch.equal(window[0], second)
    nothing = torch.stack([missing, missing])
    assert Align(spec, reference, window=True)(nothing).isnan().all()


def test_a_reference_is_one_finite_vector() -> None:
    spec, weights = PermutationSpec.of(made("mlp")), vector(made("mlp"))
    for wrong in (weights.expand(2, -1), torch.full_like(weights, torch.nan)):
        with pytest.raises(ZooError, match="a reference for alignment is one vector of finite weights"):
            Align(spec, wrong)


def test_weights_of_another_network_are_an_error() -> None:
    spec, weights = PermutationSpec.of(made("mlp")), vector(made("mlp"))
    with pytest.raises(ZooError, match="weights of 5 numbers are not PermutationSpec"):
        Align(spec, weights[:5])
    with pytest.raises(ZooError, match="trace the network they are of"):
        Align(spec, weights)(torch.cat([weights, weights]))

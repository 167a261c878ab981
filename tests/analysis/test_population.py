"""Table 2, against loops over pairs of models and other packages' statistics."""

import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial import distance

from zoo import ZooDataset
from zoo.analysis import outputs, population
from zoo.analysis.outputs import States
from zoo.analysis.population import Pairs, agreement, alignment, unit_grams
from zoo.analysis.results import Results
from zoo.errors import ZooError


@pytest.fixture(scope="module")
def dataset(zoo: Path) -> ZooDataset:
    return ZooDataset(zoo)


@pytest.fixture(scope="module")
def found(dataset: ZooDataset) -> Results:
    return population.analyze(dataset, cka_images=9)


def test_all_pairs_are_the_combinations() -> None:
    pairs = Pairs.of(5, 10, 0)
    assert list(zip(pairs.first, pairs.second, strict=True)) == list(combinations(range(5), 2))


def test_a_sample_of_pairs_has_different_ones_and_favours_none() -> None:
    counts = np.zeros((6, 6))
    for seed in range(400):
        pairs = Pairs.of(6, 5, seed)
        assert len(set(zip(pairs.first, pairs.second, strict=True))) == 5 and (pairs.first < pairs.second).all()
        assert (np.diff(pairs.first) >= 0).all()
        counts[pairs.first, pairs.second] += 1
    drawn = counts[np.triu_indices(6, 1)]
    assert drawn.sum() == 2000 and 90 < drawn.min() and drawn.max() < 180  # 133 each, within five deviations


def test_distances_are_scipys(dataset: ZooDataset, found: Results) -> None:
    weights = np.stack([dataset.state(model, 3).double().numpy() for model in range(8)])
    pairs = found.arrays["pairs"]
    norm = np.linalg.norm(weights, axis=1).mean()
    np.testing.assert_allclose(pairs["l2"], distance.pdist(weights) / norm, rtol=1e-5)
    np.testing.assert_allclose(pairs["cos"], distance.pdist(weights, "cosine"), rtol=1e-4, atol=1e-6)
    assert pairs["models"].tolist() == list(range(8))


def test_agreement_is_a_share_of_images(dataset: ZooDataset, found: Results) -> None:
    images = dataset.images().testset.images
    with torch.no_grad():
        predicted = [dataset.model(model)(images).argmax(1) for model in range(8)]
    shares = [(a == b).double().mean().item() for a, b in combinations(predicted, 2)]
    np.testing.assert_allclose(found.arrays["pairs"]["kappa_aggr"], shares, rtol=1e-6)


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Kornblith et al. 2019, equations 3 and 4, as they stand there: of features [images, any]."""
    k, l = x @ x.T, y @ y.T  # noqa: E741
    h = np.eye(len(x)) - 1 / len(x)
    return float(np.trace(k @ h @ l @ h) / np.sqrt(np.trace(k @ h @ k @ h) * np.trace(l @ h @ l @ h)))


def test_alignment_is_kornblith_et_als(dataset: ZooDataset, found: Results) -> None:
    images = dataset.images().testset.images[:9]
    states = States(np.arange(8), np.full(8, 3))
    means = np.zeros(28)
    layers: dict[str, list[np.ndarray]] = {}
    for places, part in outputs.activations(dataset, states, images):
        for name, activations in part.items():
            rows = layers.setdefault(name, [np.empty(0)] * 8)
            for place, row in zip(places, activations, strict=True):
                rows[place] = row.flatten(1).double().numpy()
    for rows in layers.values():
        means += [linear_cka(x, y) for x, y in combinations(rows, 2)]
    np.testing.assert_allclose(found.arrays["pairs"]["kappa_cka"], means / len(layers), rtol=1e-4)
    assert found.tables["cka_by_layer"]["layer"].tolist() == list(layers)


def unbiased_hsic(k: np.ndarray, l: np.ndarray) -> float:  # noqa: E741
    """Song et al. 2012, equation 5, as it stands there."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    one = np.ones(n)
    whole = (one @ k @ one) * (one @ l @ one) / ((n - 1) * (n - 2))
    return (np.trace(k @ l) + whole - 2 / (n - 2) * one @ k @ l @ one) / (n * (n - 3))


def test_the_unbiased_alignment_is_of_song_et_als_estimator() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 12, 5))
    [own] = alignment(unit_grams(torch.tensor(features), unbiased=True), Pairs.of(2, 1, 0))
    k, l = (x @ x.T for x in features)  # noqa: E741
    expected = unbiased_hsic(k, l) / np.sqrt(unbiased_hsic(k, k) * unbiased_hsic(l, l))
    assert own == pytest.approx(expected, rel=1e-5)


def test_a_layer_that_says_nothing_is_aligned_with_none() -> None:
    features = torch.stack([torch.ones(6, 3), torch.randn(6, 3, generator=torch.Generator().manual_seed(0))])
    assert alignment(unit_grams(features.double(), unbiased=False), Pairs.of(2, 1, 0)).tolist() == [0]


def test_a_sample_has_the_values_of_all_pairs(dataset: ZooDataset, found: Results) -> None:
    some = population.analyze(dataset, cka_images=9, pairs=10, seed=3).arrays["pairs"]
    whole = found.arrays["pairs"]
    places = {pair: place for place, pair in enumerate(zip(whole["first"], whole["second"], strict=True))}
    chosen = [places[pair] for pair in zip(some["first"], some["second"], strict=True)]
    for name in ("kappa_aggr", "kappa_cka", "l2", "cos"):
        np.testing.assert_allclose(some[name], whole[name][chosen], rtol=1e-6)


def test_factors_are_compared_within_and_between(dataset: ZooDataset, found: Results) -> None:
    table = found.tables["population"].set_index(["factor", "value"])
    rate, cos = dataset.models["model.dropout"].to_numpy(), found.arrays["pairs"]["cos"].astype(float)
    first, second = (rate[found.arrays["pairs"][name]] for name in ("first", "second"))
    row = table.loc[("model.dropout", 0.5)]
    assert (row["models"], row["pairs"], row["pairs_between"]) == (4, 6, 16)
    assert row["cos_mean"] == pytest.approx(cos[(first == 0.5) & (second == 0.5)].mean())
    assert row["cos_between_std"] == pytest.approx(cos[first != second].std(ddof=1))
    weights = dataset.weights.view(8, 4, -1)[rate == 0.5, 3].double()
    assert row["w_mean"] == pytest.approx(weights.mean().item()) and row["w_std"] == pytest.approx(weights.std().item())
    assert row["acc_mean"] == pytest.approx(dataset.models["test_acc"][rate == 0.5].mean())
    whole = table.loc[("all", "all")]
    assert (whole["models"], whole["pairs"]) == (8, 28) and np.isnan(whole["cos_between_mean"])


def test_models_that_are_not_viable_are_listed_and_left_out(zoo: Path, tmp_path: Path) -> None:
    dataset = ZooDataset(shutil.copytree(zoo, tmp_path / "zoo"))
    largest = [dataset.state(model, 3).abs().max().item() for model in range(8)]
    most = sorted(largest)[-2]
    found = population.analyze(dataset, cka_images=5, max_weight=most)
    assert found.tables["not_viable"]["id"].tolist() == [int(np.argmax(largest))]
    assert "above" in found.tables["not_viable"]["reason"].item()
    assert found.tables["population"]["models"].iat[0] == 7
    with pytest.raises(ZooError, match="has 0 viable models"):
        population.analyze(dataset, max_weight=0)


def test_options_that_make_no_sense(dataset: ZooDataset) -> None:
    with pytest.raises(ZooError, match="give a number from 0 to 3"):
        population.analyze(dataset, epoch=4)
    with pytest.raises(ZooError, match="no layer 'conv9'"):
        population.analyze(dataset, cka_layers=["conv9"])
    with pytest.raises(ZooError, match="4 images or more"):
        population.analyze(dataset, cka_images=3, unbiased=True)


def test_agreement_of_a_sample_is_that_of_all() -> None:
    predicted = np.random.default_rng(1).integers(0, 3, (9, 50)).astype(np.uint8)
    whole, some = Pairs.of(9, 36, 0), Pairs.of(9, 12, 0)
    matrix = np.zeros((9, 9))
    matrix[whole.first, whole.second] = agreement(predicted, whole)
    np.testing.assert_allclose(agreement(predicted, some), matrix[some.first, some.second], rtol=1e-6)

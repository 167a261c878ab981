"""w and s(w) of samples, against the dataset's own weights."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from tests.analysis import synthetic
from zoo import ZooDataset
from zoo.analysis.benchmark import features
from zoo.analysis.benchmark.samples import Samples, of_states, parted
from zoo.dataset.transforms import Statistics

EPOCHS = [1, 3]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    dataset = ZooDataset(synthetic.make(tmp_path_factory.mktemp("made") / "a", 12))
    return of_states(dataset, EPOCHS, parted(dataset, exact=True, seed=0), None)


@pytest.fixture(scope="module")
def plain(samples: Samples) -> np.ndarray:
    """By a loop over epochs, then models."""
    state = samples.dataset.state
    return np.stack([state(model, epoch).double().numpy() for epoch in EPOCHS for model in range(12)])


def test_whole_weights_are_the_states(samples: Samples, plain: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BYTES", 8 * 24 * 7)  # seven columns at once
    np.testing.assert_array_equal(features.weights([samples], whole=True), plain)
    assert features.width(samples) == plain.shape[1]


def test_of_many_weights_the_differences_are_kept(samples: Samples, plain: np.ndarray) -> None:
    found = features.weights([samples])
    assert found.shape == (24, 24) and plain.shape[1] > 24
    np.testing.assert_allclose(pdist(found), pdist(plain), rtol=1e-7)
    train, target = samples.parts == "train", plain[:, 0] + plain[:, 1] ** 2
    for penalty in (10, 1e-5):
        one, other = (
            Ridge(alpha=penalty, solver="svd").fit(x[train], target[train]).predict(x) for x in (found, plain)
        )
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_of_few_weights_they_are_given_themselves(samples: Samples, plain: np.ndarray) -> None:
    np.testing.assert_array_equal(features.weights([samples] * 4), np.tile(plain, (4, 1)))


def test_standardised_are_scikit_learns(samples: Samples, plain: np.ndarray) -> None:
    train = samples.parts == "train"
    expected = StandardScaler().fit(plain[train]).transform(plain)
    np.testing.assert_allclose(features.weights([samples], train, whole=True), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(pdist(features.weights([samples], train)), pdist(expected), rtol=1e-6)
    constant = np.full((24, 1), 0.01)
    constant[~train] = 0.02
    np.testing.assert_allclose(features.standardised(constant, train), constant - 0.01, atol=1e-12)


def test_statistics_are_of_each_state(samples: Samples, plain: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "STATES_AT_ONCE", 5)
    statistics = Statistics(samples.dataset.architecture)
    expected = [statistics(samples.dataset.state(model, epoch)).numpy() for epoch in EPOCHS for model in range(12)]
    np.testing.assert_allclose(features.statistics(samples), expected, rtol=1e-6)


def test_weights_are_the_same_kind_in_the_same_architecture(samples: Samples, tmp_path: Path) -> None:
    def other(width: int) -> Samples:
        dataset = ZooDataset(synthetic.make(tmp_path / f"b{width}", 4, width))
        return of_states(dataset, EPOCHS, parted(dataset, exact=True, seed=0), None)

    assert features.same_weights(samples, other(5)) and not features.same_weights(samples, other(4))

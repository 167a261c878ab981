"""Scores, against scikit-learn's and SciPy's, of samples that are drawn in fact."""

import numpy as np
import pytest
from scipy.stats import kendalltau
from sklearn.metrics import accuracy_score, r2_score

from zoo.analysis.benchmark import scores

RANDOM = np.random.default_rng(0)
MODELS = np.array([0, 1, 2, 2, 1, 3, 3, 3, 4, 0])  # of samples: none has as many as another, and in no order
TRUE = RANDOM.normal(size=10).round(1)
PREDICTED = (TRUE + RANDOM.normal(size=10)).round()  # with ties
CLASSES = np.array(list("abcab" * 2), dtype=object)
GUESSED = np.array(list("abbaaccaab"), dtype=object)


def drawn(counts: np.ndarray) -> np.ndarray:
    """The samples of each model as often as it was drawn."""
    return np.concatenate([np.flatnonzero(MODELS == model).repeat(int(count)) for model, count in enumerate(counts)])


@pytest.mark.parametrize(
    ("score", "plain", "true", "predicted"),
    [
        (scores.r2, r2_score, TRUE, PREDICTED),
        (scores.r2, r2_score, TRUE + 1000, PREDICTED + 1000),
        (scores.tau, lambda true, predicted: kendalltau(true, predicted).statistic, TRUE, PREDICTED),
        (scores.accuracy, accuracy_score, CLASSES, GUESSED),
    ],
)
def test_scores_are_those_of_the_samples_that_are_drawn(score, plain, true, predicted, monkeypatch) -> None:
    monkeypatch.setattr(scores, "ROWS_AT_ONCE", 3)
    counts = np.concatenate([np.ones((1, 5)), scores.draws(5, 20, seed=1)])
    found = score(true, predicted, MODELS, counts)
    places = [drawn(row) for row in counts]
    np.testing.assert_allclose(found, [plain(true[place], predicted[place]) for place in places], rtol=1e-9)


def test_what_does_not_vary_has_no_score() -> None:
    same = np.full(10, 0.001)
    everything = np.ones((1, 5))
    assert np.isnan(scores.r2(same, PREDICTED, MODELS, everything)).all()
    assert np.isnan(scores.tau(same, PREDICTED, MODELS, everything)).all()
    assert np.isnan(scores.tau(TRUE, same, MODELS, everything)).all()
    assert np.isnan(scores.interval(np.array([np.nan]))).all()


def test_draws_are_of_models_with_replacement() -> None:
    counts = scores.draws(6, 4000, seed=0)
    assert (counts.sum(axis=1) == 6).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(counts.var(axis=0), 5 / 6, atol=0.1)


def test_the_interval_is_of_percentiles() -> None:
    assert scores.interval(np.array([*range(1001), np.nan])) == pytest.approx((25, 975))

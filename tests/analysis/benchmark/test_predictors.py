"""Linear models, against scikit-learn's, fitted one by one."""

import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier

from zoo.analysis.benchmark.predictors import PENALTIES, Decomposition, Linear, Trees
from zoo.errors import ZooError

RANDOM = np.random.default_rng(0)
SAMPLES = 60
TRAIN, VAL = np.arange(SAMPLES) % 3 == 0, np.arange(SAMPLES) % 3 == 1


@pytest.fixture(params=[4, 100], ids=["narrow", "wide"])
def features(request: pytest.FixtureRequest) -> np.ndarray:
    return 5 + RANDOM.normal(size=(SAMPLES, request.param)) * RANDOM.uniform(0.01, 3, request.param)


def number(features: np.ndarray) -> np.ndarray:
    return features[:, :4].sum(axis=1) + RANDOM.normal(size=SAMPLES)


def category(features: np.ndarray) -> np.ndarray:
    return np.array(["low", "middle", "high"], dtype=object)[np.digitize(number(features), [18, 22])]


def test_the_penalties_are_17_from_the_largest() -> None:
    assert len(PENALTIES) == 17 and list(PENALTIES) == sorted(PENALTIES, reverse=True)
    np.testing.assert_allclose([PENALTIES[0], PENALTIES[1], PENALTIES[-2], PENALTIES[-1]], [1e3, 3e2, 3e-5, 1e-5])


@pytest.mark.parametrize("penalty", PENALTIES)
def test_one_decomposition_is_ridge_regression_for_all_penalties(features: np.ndarray, penalty: float) -> None:
    targets = np.stack([number(features), RANDOM.normal(size=SAMPLES)], axis=1)
    plain = Ridge(alpha=penalty, solver="svd").fit(features[TRAIN], targets[TRAIN])
    found = Decomposition(features, TRAIN).predict(targets, penalty)
    np.testing.assert_allclose(found, plain.predict(features), rtol=1e-6, atol=1e-8)


def test_the_penalty_of_a_number_is_the_best_of_a_loop(features: np.ndarray) -> None:
    target = number(features)
    found = Linear(features, PENALTIES, "ridge").number(target, TRAIN, VAL)
    plain = [Ridge(alpha=penalty, solver="svd").fit(features[TRAIN], target[TRAIN]) for penalty in PENALTIES]
    scores = [model.score(features[VAL], target[VAL]) for model in plain]
    assert found.penalty == PENALTIES[np.argmax(scores)] and found.model == "ridge"
    np.testing.assert_allclose(found.values, plain[int(np.argmax(scores))].predict(features), rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_ridge_classifier_is_the_best_of_a_loop(features: np.ndarray, classes: int) -> None:
    target = category(features)
    target[target == "middle"] = "middle" if classes == 3 else "low"
    found = Linear(features, PENALTIES, "ridge").category(target, TRAIN, VAL)
    plain = [RidgeClassifier(alpha=penalty, solver="svd").fit(features[TRAIN], target[TRAIN]) for penalty in PENALTIES]
    scores = [model.score(features[VAL], target[VAL]) for model in plain]
    assert found.penalty == PENALTIES[np.argmax(scores)] and found.model == "ridge"
    assert found.values.tolist() == plain[int(np.argmax(scores))].predict(features).tolist()


def test_logistic_regression_is_the_best_of_a_loop() -> None:
    features = RANDOM.normal(size=(SAMPLES, 5))
    target = np.array(["a", "b", "c"], dtype=object)[features[:, :3].argmax(axis=1)]
    found = Linear(features, [10, 0.1], "logistic").category(target, TRAIN, VAL)
    plain = [
        LogisticRegression(C=1 / penalty, max_iter=1000).fit(features[TRAIN], target[TRAIN]) for penalty in (10, 0.1)
    ]
    scores = [model.score(features[VAL], target[VAL]) for model in plain]
    assert found.penalty == (10, 0.1)[np.argmax(scores)] and found.model == "logistic"
    assert found.values.tolist() == plain[int(np.argmax(scores))].predict(features).tolist()


def test_a_target_that_some_lack_has_a_decomposition_of_its_own(features: np.ndarray) -> None:
    target = number(features)
    linear = Linear(features, [1.0], "ridge")
    fewer = TRAIN & (np.arange(SAMPLES) < 40)
    first, second = (linear.number(np.where(mask, target, np.nan), mask, mask).values for mask in (TRAIN, fewer))
    for found, mask in ((first, TRAIN), (second, fewer)):
        np.testing.assert_allclose(
            found, Ridge(alpha=1.0, solver="svd").fit(features[mask], target[mask]).predict(features)
        )


def test_trees_learn() -> None:
    try:
        import lightgbm  # noqa: F401
    except (ImportError, OSError):  # the latter where the system has no OpenMP
        pytest.skip("lightgbm can't be imported here")
    features = RANDOM.uniform(-1, 1, size=(600, 3))
    train, val = np.arange(600) % 3 == 0, np.arange(600) % 3 == 1
    target = np.sign(np.abs(features[:, 0]) - 0.5)  # which no linear model can
    found = Trees(features).number(target, train, val)
    assert 1 - np.square(found.values - target)[~train & ~val].mean() > 0.8 and np.isnan(found.penalty)
    named = np.where(target > 0, "far", "near").astype(object)
    named[val.nonzero()[0][0]] = "unknown"
    assert (Trees(features).category(named, train, val).values == named)[~train & ~val].mean() > 0.85


def test_without_lightgbm_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ZooError, match="needs the package lightgbm: pip install lightgbm"):
        Trees(np.zeros((3, 1))).number(np.zeros(3), TRAIN[:3], VAL[:3])

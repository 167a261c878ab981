"""How good predictions are: R^2, Kendall's tau, accuracy, each for many samples of models at once."""

from collections.abc import Callable

import numpy as np

PERCENTILES = (2.5, 97.5)
SAME = 1e-9  # a variance below this share of the mean square is none
ROWS_AT_ONCE = 2**8

Score = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Of true and predicted values and the place of the model [samples] each, and how often each model counts [draws,
models]: the score [draws], NaN where there is none."""


def r2(true: np.ndarray, predicted: np.ndarray, models: np.ndarray, counts: np.ndarray) -> np.ndarray:
    centred = true - true.mean()
    sums = [by_model(values, models) for values in (np.ones(len(true)), centred, centred**2, (true - predicted) ** 2)]
    number, total, squares, errors = (counts @ values for values in sums)
    variance = squares - total**2 / number
    scale = SAME * (counts @ by_model(true**2, models))
    return np.where(variance > scale, 1 - errors / np.where(variance > scale, variance, 1), np.nan)


def accuracy(true: np.ndarray, predicted: np.ndarray, models: np.ndarray, counts: np.ndarray) -> np.ndarray:
    hits = by_model((true == predicted).astype(float), models)
    return (counts @ hits) / (counts @ by_model(np.ones(len(true)), models))


def tau(true: np.ndarray, predicted: np.ndarray, models: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Kendall's tau-b: concordant minus discordant pairs, by the root of the pairs that differ in either.

    Pairs of the same sample, which a draw can have several times, differ in nothing.
    """
    agreed, of_true, of_predicted = (
        np.einsum("dm,mn,dn->d", counts, pairs, counts, optimize=True) for pairs in signs(true, predicted, models)
    )
    several = (of_true > 0) & (of_predicted > 0)
    return np.where(several, agreed / np.sqrt(np.where(several, of_true * of_predicted, 1)), np.nan)


def signs(true: np.ndarray, predicted: np.ndarray, models: np.ndarray) -> np.ndarray:
    """Over the pairs of samples of each pair of models [3, models, models]: sums of the products of both values' signs,
    and how many differ in the true, and in the predicted value.
    """
    order = np.argsort(models, kind="stable")
    true, predicted, models = true[order], predicted[order], models[order]
    starts = np.searchsorted(models, np.arange(models.max() + 1))
    found = np.zeros((3, len(true), len(starts)), dtype=np.float32)  # counts
    for start in range(0, len(true), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        first, second = (np.sign(values[part, None] - values).astype(np.float32) for values in (true, predicted))
        for place, values in enumerate((first * second, np.abs(first), np.abs(second))):
            found[place, part] = np.add.reduceat(values, starts, axis=1)
    return np.add.reduceat(found.astype(float), starts, axis=1)


def by_model(values: np.ndarray, models: np.ndarray) -> np.ndarray:
    """Sums [models]."""
    return np.bincount(models, weights=values, minlength=int(models.max()) + 1)


def draws(models: int, count: int, seed: int) -> np.ndarray:
    """How often each model is in each of so many bootstrap samples [count, models]."""
    return np.random.default_rng(seed).multinomial(models, np.full(models, 1 / models), size=count).astype(float)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """95 %, by the percentiles of the bootstrap scores, without those that are none."""
    scores = drawn[np.isfinite(drawn)]
    if not len(scores):
        return np.nan, np.nan
    low, high = np.percentile(scores, PERCENTILES)
    return float(low), float(high)

"""Random numbers by counting."""

import math

import numpy as np
import pytest

from zoo.random import data_order, derive, distinct_seed


def test_derive_separates_its_arguments() -> None:
    names = [(seed, purpose, epoch) for seed in (1, 11) for purpose in ("order", "train") for epoch in (1, 11)]
    assert len({derive(*name) for name in names}) == len(names)


def test_the_same_on_every_machine() -> None:
    """Zoos are made again, and continued, elsewhere: these values must never change."""
    assert derive(1, "order", 1) == 15210159046726888073
    assert data_order(3, 2, 8).tolist() == [7, 0, 2, 4, 3, 5, 1, 6]
    assert [distinct_seed(draw, "mnist", "tanh", 0.001) for draw in range(3)] == [703812, 733155, 188098]


def test_data_order_is_a_permutation_of_its_own_for_every_seed_and_epoch() -> None:
    orders = [data_order(seed, epoch, 1000) for seed in (0, 1) for epoch in (1, 2)]
    for order in orders:
        assert (np.sort(order) == np.arange(1000)).all()
    for i, order in enumerate(orders):
        for other in orders[:i]:
            assert (order == other).mean() < 0.01


def test_distinct_seeds() -> None:
    seeds = [distinct_seed(draw, "mnist", "tanh", 0.001) for draw in range(200)]
    assert len(set(seeds)) == 200
    assert all(0 <= seed <= 1_000_000 for seed in seeds)
    # four standard errors of the mean of a uniform distribution
    assert sum(seeds) / 200 == pytest.approx(500_000, abs=4 * 1_000_000 / math.sqrt(12 * 200))
    assert distinct_seed(0, "mnist", "relu", 0.001) != seeds[0]

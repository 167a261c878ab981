"""How many optimizer steps a training has."""

from collections.abc import Callable
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.node.grid import Grid
from zoo.node.steps import batches_per_epoch, total_steps


@pytest.mark.parametrize(
    ("limit", "batches"), [(None, 9), (1, 1), (3, 3), (9, 9), (100, 9), (0.5, 4), (0.99, 8), (0.12, 1)]
)
def test_batches_per_epoch(limit: float | None, batches: int) -> None:
    assert batches_per_epoch(81, 10, limit) == batches


def test_a_schedule_over_the_whole_training_is_identified_by_its_steps(grid: Callable[..., Grid]) -> None:
    nodes = list(grid("schedule=cosine,one_cycle", "batch_size=7,10", "trainer.max_epochs=2,3"))
    steps = [node.config["schedule"].get("T_max") or node.config["schedule"]["total_steps"] for node in nodes]
    assert steps == [12, 18, 8, 12] * 2 and len({node.name for node in nodes}) == 8
    [half] = grid("schedule=cosine", "+trainer.limit_train_batches=0.5", "trainer.max_epochs=2")
    assert half.config["schedule"]["T_max"] == 4


@pytest.mark.parametrize(
    ("key", "value"), [("data.train", None), ("batch_size", 0), ("batch_size", True), ("trainer.max_epochs", "ten")]
)
def test_steps_of_what_is_no_number(key: str, value: object) -> None:
    config: dict[str, Any] = {"data": {"train": 40}, "batch_size": 10, "trainer": {"max_epochs": 2}}
    group, _, inner = key.partition(".")
    config |= {group: {**config[group], inner: value} if inner else value}
    with pytest.raises(ZooError, match=f"{key}={value}: must be a whole number"):
        total_steps(config)

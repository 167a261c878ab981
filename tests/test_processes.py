"""Worker processes: their results, and that they are gone afterwards."""

import functools
import operator
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.processes import AHEAD, mapping


def workers() -> set[str]:
    """The children of this process that run Python code of loky."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {child for child in children if b"loky" in Path(f"/proc/{child}/cmdline").read_bytes()} - trackers(children)


def trackers(children: list[str]) -> set[str]:
    """loky's and Python's own, which stay."""
    return {child for child in children if b"resource_tracker" in Path(f"/proc/{child}/cmdline").read_bytes()}


def test_one_process_is_this_one() -> None:
    with mapping(lambda _: os.getpid(), 1) as done:
        assert list(done([1, 2])) == [os.getpid()] * 2


def test_results_come_in_order_and_few_tasks_ahead() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    with mapping(operator.neg, 2) as done:
        results = done(tasks())
        assert next(results) == 0 and len(taken) == 2 * AHEAD + 1
        assert list(results) == [-number for number in range(1, 20)]
        assert len(workers()) == 2
    assert not workers()


def test_what_a_job_raises_is_raised_in_its_place() -> None:
    with mapping(functools.partial(operator.truediv, 1), 2) as done:
        results = done([1, 2, 0, 4])
        assert [next(results), next(results)] == [1, 0.5]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_an_error_ends_the_processes_in_the_middle_of_their_work() -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), mapping(time.sleep, 2) as done:
        results = done([0, 600, 600, 600, 600, 600])
        next(results)
        raise KeyboardInterrupt
    assert not workers() and time.monotonic() - began < 60


def test_a_process_that_dies_is_one_clear_error() -> None:
    with pytest.raises(ZooError, match="a worker process was ended.*the same command begins again"):
        with mapping(os._exit, 2) as done:
            list(done([1]))
    assert not workers()

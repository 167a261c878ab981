"""Names in one array of bytes, beside a list of them."""

import numpy as np
import pytest

from zoo.format.names import Names

LONG = [f"adam_lr0.001_seed{number}_{number:010x}" for number in range(50)]


def names(*texts: str) -> Names:
    return Names(np.frombuffer("\n".join(texts).encode(), dtype=np.uint8))


@pytest.mark.parametrize("texts", [LONG, ["a"], ["a", "", "ä\u2028", "b"]])
def test_they_are_those_of_the_list(texts: list[str]) -> None:
    found = names(*texts)
    assert list(found) == [found[place] for place in range(len(texts))] == texts and found[-1:] == texts[-1:]


@pytest.mark.parametrize(
    ("texts", "plain"),
    [
        (LONG, True),
        (["ab", "ä", "x" * 255], True),
        ([*LONG, "a/b"], False),
        ([*LONG, "a\\b"], False),
        ([*LONG, "a\x1bb"], False),
        ([*LONG, ".."], False),
        ([*LONG, "x" * 256], False),
        ([*LONG, ""], False),
    ],
)
def test_plain_ones(texts: list[str], plain: bool) -> None:
    assert names(*texts).are_plain() is plain


@pytest.mark.parametrize(
    ("texts", "different"),
    [
        (LONG, True),
        ([*LONG, LONG[7]], False),
        (["a", "b"], True),
        (["a", "b", "a"], False),
        (["a" + "x" * 16, "b" + "x" * 16], True),  # their ends alike
        (["ab" + "x" * 16, "y", "ab" + "x" * 16], False),
    ],
)
def test_different_ones(texts: list[str], different: bool) -> None:
    assert names(*texts).are_different() is different

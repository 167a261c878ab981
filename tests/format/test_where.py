"""Rows by an expression, beside the same by hand."""

import numpy as np
import pandas as pd
import pytest

from zoo.errors import ZooError
from zoo.format.where import rows_where

TABLE = pd.DataFrame(
    {
        "optim": ["adam", "sgd", "adam", None],
        "optim.lr": [1e-3, 1e-3, 1e-4, 1e-4],
        "optim.momentum": [np.nan, 0.9, np.nan, np.nan],
        "seed": [0, 1, 2, 3],
        "test_acc": [0.5, 0.95, 0.91, np.nan],
        "diverged": [False, False, True, False],
        "model.act.name": ["a", "b", "c", "d"],
    }
)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ('optim == "adam"', [0, 2]),
        ('optim != "adam"', [1, 3]),
        ('optim == "adam" and test_acc > .9', [2]),
        ('optim == "sgd" or seed == 0', [0, 1]),
        ("not diverged", [0, 1, 3]),
        ("diverged", [2]),
        ("diverged == True", [2]),
        ("0 < seed <= 2", [1, 2]),
        ("optim.lr == 1e-4", [2, 3]),
        ("optim.lr*10 == .01", [0, 1]),
        ('optim in ["sgd", "rmsprop"]', [1]),
        ('optim not in ("sgd",)', [0, 2, 3]),
        ("seed in {1, 3}", [1, 3]),
        ("optim.momentum == None", [0, 2, 3]),
        ("None != optim.momentum", [1]),
        ("optim.momentum is None", [0, 2, 3]),
        ("optim is not None and test_acc is not None", [0, 1, 2]),
        ("optim in ['sgd', None]", [1, 3]),
        ("seed - 1 == -1", [0]),
        ("-seed + 2 * 1 > 0", [0, 1]),
        ("seed / 0 > 1", [1, 2, 3]),
        ("test_acc < 2", [0, 1, 2]),
        ("test_acc != test_acc", [3]),
        ("optim > 'b'", [1]),
        ("optim == 1", []),
        ("model.act.name == 'c'", [2]),
        ("True", [0, 1, 2, 3]),
        ("1 < 2 and seed < 1", [0]),
        ("not False", [0, 1, 2, 3]),
        ("not seed > 1 and not (seed == 0)", [1]),
        ("  seed == 3 ", [3]),
        ("1 < 2 < 1", []),
    ],
)
def test_rows_are_those_for_which_it_is_true(expression: str, rows: list[int]) -> None:
    mask = rows_where(TABLE, expression)
    assert mask.dtype == bool and mask.shape == (4,)
    assert np.flatnonzero(mask).tolist() == rows


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("lr == 1", "lr at position 1 is no column. Did you mean"),
        ("seed == 1 and test_ac > 1", "test_ac at position 15 is no column. Did you mean test_acc"),
        ("optim.rl == 1", "optim.rl at position 1 is no column. Did you mean optim.lr"),
        ("optim > 1", "optim at position 1 can't be compared with 1"),
        ("seed", "seed at position 1 is neither true nor false"),
        ("seed and diverged", "seed at position 1 is neither"),
        ("not optim", "optim at position 5 is neither"),
        ("optim + 1 == 2", "optim at position 1 is no number"),
        ("'a' * 1000000000 == optim", "'a' at position 1 is no number"),
        ("diverged + 1 == 2", "diverged at position 1 is no number"),
        ("1 / 0 == seed", "1 / 0 at position 1 can't be calculated"),
        ("seed ** 2 == 4", "is not taken"),
        ("seed @ 2 == 4", "is not taken"),
        ("seed == 1j", "is not taken"),
        ("seed == b'1'", "is not taken"),
        ("seed is 1", "use == or !="),
        ("seed in optim", "optim at position 9 is no list"),
        ("seed in [optim]", "lists a column"),
        ("__import__('os').system('true')", "is not taken"),
        ("optim.__class__ == 1", "optim.__class__ at position 1 is no column"),
        ("'a'.join == 1", "'a'.join at position 1 is no name of a column"),
        ("[x for x in optim] == 1", "is not taken"),
        ("(lambda: 1)() == 1", "is not taken"),
        ("seed[0] == 1", "is not taken"),
        ("f'{seed}' == '1'", "is not taken"),
        ("(y := seed) == 1", "is not taken"),
        ("1 if diverged else 0", "is not taken"),
        ("seed = 1", "is no expression: "),
        ("seed == ", "is no expression: "),
        ("", "1 to 10,000 characters"),
        ("seed == 1" + " or seed == 1" * 1000, "1 to 10,000 characters"),
        ("-" * 9000 + "1 == seed", "can't be evaluated|no expression"),
        ("(" * 4000 + "1" + ")" * 4000, "can't be evaluated|no expression"),
        ("seed == 'a\0b'", "can't be evaluated|no expression"),
        ("1" * 5000 + " == seed", "can't be evaluated|no expression"),
    ],
)
def test_anything_else_is_refused_by_its_place(expression: str, said: str) -> None:
    with pytest.raises(ZooError, match=said.replace("(", r"\(").replace("*", r"\*").replace(".", r"\.")) as error:
        rows_where(TABLE, expression)
    assert "\n" not in str(error.value)

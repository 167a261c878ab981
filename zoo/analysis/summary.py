"""The zoo in numbers."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from zoo.format.tables import DIVERGED, FINISHED, UNFINISHED


def summarise(models: pd.DataFrame) -> dict[str, Any]:
    """The zoo in numbers. Accuracies (0..1) are those of the finished models, null if there are too few.

    `unfinished` and `diverged` name these models, with their last epochs.
    """
    last_epochs = models.set_index("node")["last_epoch"]
    finished = models[models["status"] == FINISHED]
    return {
        "models": len(models),
        "states": int(models["last_epoch"].add(1).sum()),
        FINISHED: len(finished),
        **{status: last_epochs[(models["status"] == status).array].to_dict() for status in (UNFINISHED, DIVERGED)},
        "accuracy": {split: statistics(finished[f"{split}_acc"]) for split in ("train", "val", "test")},
        "ggap": statistics(finished["ggap"]),
    }


def statistics(values: pd.Series) -> dict[str, float | None]:
    numbers = values.agg(["mean", "std", "min", "median", "max"])
    return {key: None if pd.isna(number) else float(number) for key, number in numbers.items()}


def accuracy_by_factor(models: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Test accuracy of the finished models, a row per value of each factor but the seed, and one for all of them."""
    finished = models[models["status"] == FINISHED]
    statistics = {"models": "size", **{key: key for key in ("mean", "std", "min", "median", "max")}}
    keys = [key for key in factors if key != "seed"]
    groups = [(key, finished.groupby(key)["test_acc"]) for key in keys]
    groups.append(("all", finished.assign(all="all").groupby("all")["test_acc"]))
    rows = [group.agg(**statistics).rename_axis("value").reset_index().assign(factor=key) for key, group in groups]
    return pd.concat([row.astype({"value": object}) for row in rows])[["factor", "value", *statistics]]


def count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + "s" * (number != 1)

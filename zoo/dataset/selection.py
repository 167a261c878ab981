"""Which models of a source, and which of their states, are in a dataset."""

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
import torch

from zoo.dataset.splits import SPLITS, require_fractions, seeded_splits, split_models
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.source import Source
from zoo.format.where import rows_where

LAST, BEST = "last", "best"
STATUSES = (tables.FINISHED, tables.UNFINISHED, tables.DIVERGED)
AT_ONCE = 4096  # states, while the largest weights are looked for

Epochs = int | str | slice | Iterable[int] | None


@dataclass(frozen=True)
class Selection:
    """See ZooDataset for what each means."""

    epochs: Epochs = None
    split: str | None = None
    finite: bool = True
    splits: Mapping[str, float] | None = None
    seed: int = 0
    stratify: str | None = None
    where: str | None = None
    status: str | None = None
    max_weight: float | None = None
    window: int | None = None

    def given(self) -> dict[str, Any]:
        """What is not as it is by default."""
        return {
            field.name: given for field in fields(self) if (given := getattr(self, field.name)) is not field.default
        }

    def require_sound(self) -> None:
        """Raise ZooError for what no zoo can have."""
        if self.splits is not None:
            require_fractions(self.splits)
        elif self.stratify is not None or self.seed:
            raise ZooError("seed and stratify are for splits of your own: give `splits`, such as {'train': .7, ...}")
        names = list(SPLITS if self.splits is None else self.splits)
        if not is_whole(self.seed):
            raise ZooError(f"seed={self.seed!r}: give a whole number")
        if self.split is not None and self.split not in names:
            raise ZooError(f"unknown split {self.split!r}: choose from {', '.join(names)}, or None for all models")
        if self.status is not None and self.status not in STATUSES:
            raise ZooError(f"unknown status {self.status!r}: choose from {', '.join(STATUSES)}")
        if self.where is not None and not isinstance(self.where, str):
            raise ZooError(f"where={self.where!r}: give a condition as text, such as \"optim == 'adam'\"")
        if self.max_weight is not None and not is_positive(self.max_weight):
            raise ZooError(f"max_weight={self.max_weight!r}: give a number above 0, or None for any weights")
        if self.window is not None and (not is_whole(self.window) or self.window < 1):
            raise ZooError(f"window={self.window!r}: give the number of epochs in a window, or None")
        if self.window and isinstance(self.epochs, str) and self.epochs in (LAST, BEST):
            raise ZooError(f"a window needs several epochs: epochs={self.epochs!r} is one")

    def rows(self, source: Source, epochs: list[int] | None) -> np.ndarray:
        """The samples, ascending, as row numbers of the weights: [samples], or [samples, window].

        `epochs`: those to take, None for each model's last or best.
        """
        rows = self.of_models(source, self.models(source), epochs)
        keep = self.kept(source, rows)
        if self.window is None:
            return rows[keep]
        if self.window > rows.shape[1]:
            raise ZooError(f"window={self.window}: {source.path} has only {rows.shape[1]} of the epochs asked for")
        windows, whole = (np.lib.stride_tricks.sliding_window_view(part, self.window, axis=1) for part in (rows, keep))
        return windows[whole.all(axis=-1)]

    def models(self, source: Source) -> np.ndarray:
        """Their ids, ascending."""
        mask = np.ones(source.weights.shape[0], dtype=bool)
        if self.split is not None:
            mask &= self.of_splits(source.models, source) == self.split
        if self.status is not None:
            mask &= (source.models["status"] == self.status).to_numpy()
        if self.where is not None:
            mask &= rows_where(source.models, self.where)
        return np.flatnonzero(mask)

    def of_splits(self, models: pd.DataFrame, source: Source) -> np.ndarray:
        if self.splits is None:
            return split_models(models["node"].tolist())
        if self.stratify is not None and self.stratify not in models:
            raise ZooError(f"stratify={self.stratify!r} is no column of the models in {source.path}")
        strata = None if self.stratify is None else models[self.stratify].tolist()
        return seeded_splits(models["node"].tolist(), self.splits, self.seed, strata)

    def of_models(self, source: Source, models: np.ndarray, epochs: list[int] | None) -> np.ndarray:
        """The rows [models, epochs] of these models; of those without a best epoch there are none."""
        length = source.weights.shape[1]
        if epochs is not None:
            return np.add.outer(models * length, epochs)
        column = "last_epoch" if self.epochs == LAST else "best_epoch"
        chosen = source.models[column].to_numpy(dtype=float)
        if np.isnan(chosen).all():
            raise ZooError(
                f"{source.path} has no validation accuracies, by which epochs would be the best: give others"
            )
        models = models[~np.isnan(chosen[models])]
        return (models * length + chosen[models].astype(np.int64))[:, None]

    def kept(self, source: Source, rows: np.ndarray) -> np.ndarray:
        """Whether each state of `rows` is to be there."""
        keep = np.ones(rows.shape, dtype=bool)
        if self.finite:
            there = np.zeros(source.weights.shape[0] * source.weights.shape[1], dtype=bool)
            there[state_rows(source, ~source.states["diverged"].to_numpy())] = True
            keep &= there[rows]
        if self.max_weight is not None:
            keep[keep] = largest(source, rows[keep]) <= self.max_weight
        return keep


def state_rows(source: Source, mask: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Of the states in the table: their row numbers in the weights, model x epochs + epoch."""
    ids, epochs = (source.states[key].to_numpy()[mask] for key in ("id", "epoch"))
    return ids * source.weights.shape[1] + epochs


def largest(source: Source, rows: np.ndarray) -> np.ndarray:
    """The largest |weight| of each state; NaN if any is."""
    parts = [source.weights.states(rows[start : start + AT_ONCE]) for start in range(0, len(rows), AT_ONCE)]
    return torch.cat([part.abs().amax(dim=1) for part in parts]).numpy() if parts else np.empty(0)


def checked_epochs(epochs: Epochs, source: Source) -> list[int] | None:
    """The epochs, sorted; None for each model's last or best."""
    there = range(source.weights.shape[1])
    if epochs is None:
        return list(there)
    if isinstance(epochs, str) and epochs in (LAST, BEST):
        return None
    if isinstance(epochs, slice):
        asked = list(there[checked_slice(epochs)])
    else:
        asked = [whole(epoch) for epoch in several(epochs)]
    if not asked or not all(-len(there) <= epoch < len(there) for epoch in asked):
        raise ZooError(f"epochs={epochs!r}: {source.path} has the epochs 0 to {there[-1]}")
    return sorted({epoch % len(there) for epoch in asked})


def is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_positive(value: Any) -> bool:
    """Infinity is. What is not a number, is not."""
    return (is_whole(value) or isinstance(value, float | np.floating)) and value > 0


def several(epochs: Any) -> Iterable[Any]:
    one = isinstance(epochs, str) or not isinstance(epochs, Iterable) or getattr(epochs, "ndim", 1) == 0
    return [epochs] if one else epochs


def checked_slice(epochs: slice) -> slice:
    parts = [None if part is None else whole(part) for part in (epochs.start, epochs.stop, epochs.step)]
    if parts[2] == 0:
        raise ZooError("epochs: a slice's step can't be 0")
    return slice(*parts)


def whole(epoch: Any) -> int:
    """Raises ZooError for what is no whole number: True is none, either."""
    try:
        if isinstance(epoch, bool | np.bool_):
            raise TypeError
        return operator.index(epoch)
    except TypeError:
        raise ZooError(f"epochs={epoch!r}: give a whole number or several, 'last' or 'best'") from None


def epoch_of(epoch: int | str, model: pd.Series, source: Source) -> int:
    """The epoch of a model's state, whose row of the table of models is given.

    `epoch`: as in `checked_epochs`. Raises ZooError, which names those there are, if it has no state at this one.
    """
    if isinstance(epoch, str) and epoch in (LAST, BEST):
        asked = model[f"{epoch}_epoch"]
    else:
        asked = whole(epoch) + (source.weights.shape[1] if whole(epoch) < 0 else 0)
    ids = source.states["id"].to_numpy()
    there = source.states["epoch"].to_numpy()[slice(*np.searchsorted(ids, [model["id"], model["id"] + 1]))]
    if asked not in there:
        named = f"{source.path}: the model {model['id']}, {model['node']},"
        raise ZooError(f"{named} has the epochs {listed(there)}, but not {epoch}")
    return int(asked)


def listed(epochs: np.ndarray) -> str:
    """Ascending epochs, to be read in an error: 0 to 3, 7, 9."""
    runs = np.split(epochs, np.flatnonzero(np.diff(epochs) != 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)

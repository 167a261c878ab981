"""The properties that go with a dataset's samples: from the tables of models and of states, as they are asked for."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from zoo.dataset.selection import state_rows
from zoo.format import tables
from zoo.format.source import Source

LISTED = 2**22  # values; more stay arrays, which are a little slower to take one from, and a fifth the size

Column = list[Any] | memoryview


class Properties:
    """Of a model: `id`, `node` and hyperparameters; of a state: its `epoch`, and metrics, NaN where there is none."""

    def __init__(self, source: Source, rows: np.ndarray):
        """`rows`: the samples' row numbers in the weights, [samples] or [samples, window]."""
        self.source, self.rows, self.epochs = source, rows, source.weights.shape[1]

    @cached_property
    def places(self) -> np.ndarray:
        """The row of each state in the table of states; -1 if it is not there. Of the shape of `rows`."""
        known = state_rows(self.source)
        found = np.searchsorted(known, self.rows).clip(max=len(known) - 1)
        return np.where(known[found] == self.rows, found, -1)

    @cached_property
    def of_models(self) -> pd.DataFrame:
        """A row per model of the source. A hyperparameter that a model does not have is NaN or ''."""
        table = self.source.models.drop(columns=["variant", *tables.OUTCOME])
        for key in table.select_dtypes(exclude=["number", "bool"]):
            table[key] = table[key].fillna("").astype(str)
        return table

    @cached_property
    def metrics(self) -> np.ndarray:
        """[states + 1, metrics]: a last row of NaN is for states that are not there."""
        values = self.source.states[tables.METRICS].to_numpy(dtype=float)
        return np.vstack([values, np.full(values.shape[1], np.nan)])

    @cached_property
    def model_columns(self) -> list[tuple[str, Column]]:
        return [(key, listed(self.of_models[key])) for key in self.of_models if key not in ("id", "node")]

    @cached_property
    def nodes(self) -> list[str]:
        return self.of_models["node"].tolist()

    @cached_property
    def state_columns(self) -> list[tuple[str, Column]]:
        return [(key, listed(column)) for key, column in zip(tables.METRICS, self.metrics.T, strict=True)]

    def one(self, place: int, model: int, epoch: int) -> dict[str, Any]:
        """Of the sample whose state has this row in the table of states."""
        found: dict[str, Any] = {"id": model, "node": self.nodes[model], "epoch": epoch}
        for key, column in self.model_columns:
            found[key] = column[model]
        for key, column in self.state_columns:
            found[key] = column[place]
        return found

    def of_windows(self, indices: np.ndarray) -> list[dict[str, Any]]:
        """Of these samples; what differs between states is an array [window]."""
        models, epochs = np.divmod(self.rows[indices], self.epochs)
        metrics = np.ascontiguousarray(self.metrics[self.places[indices]].swapaxes(1, 2))  # [samples, metrics, window]
        samples = []
        for model, epoch, values in zip(models[:, 0].tolist(), epochs, metrics, strict=True):
            found: dict[str, Any] = {"id": model, "node": self.nodes[model], "epoch": epoch}
            for key, column in self.model_columns:
                found[key] = column[model]
            found.update(zip(tables.METRICS, values, strict=True))
            samples.append(found)
        return samples

    def table(self, samples: Sequence[int] | slice = slice(None), state: int | None = None) -> pd.DataFrame:
        """A row per sample; of windows a row per state, by sample and step, or only the `state` of each."""
        rows, places = self.rows[samples], self.places[samples]
        if state is not None and rows.ndim > 1:
            rows, places = rows[:, state], places[:, state]
        models, epochs = np.divmod(rows.ravel(), self.epochs)
        table = self.of_models.iloc[models].reset_index(drop=True)
        table.insert(table.columns.get_loc("node") + 1, "epoch", epochs)
        metrics = pd.DataFrame(self.metrics[places.ravel()], columns=tables.METRICS)
        table = pd.concat([table, metrics], axis=1)
        if rows.ndim > 1:
            table.index = pd.MultiIndex.from_product([range(len(rows)), range(rows.shape[1])], names=["sample", "step"])
        return table


def listed(column: pd.Series | np.ndarray) -> Column:
    """A column from which single values are taken fast, as Python's own."""
    array = np.ascontiguousarray(column) if isinstance(column, np.ndarray) else column.to_numpy()
    if len(array) <= LISTED or array.dtype == object:
        return array.tolist()
    return np.ascontiguousarray(array).data

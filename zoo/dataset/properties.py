"""The properties that go with a dataset's samples: from the tables of models and of states, as they are asked for."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import torch

from zoo.dataset.selection import state_rows
from zoo.format import tables
from zoo.format.names import Names
from zoo.format.source import Source

KEPT = 2**16  # models whose properties are kept as they were made for a sample


@runtime_checkable
class Quick(Protocol):
    """A source that has the table of models sooner than as a table."""

    def quick_models(self) -> "tuple[Names, pd.DataFrame] | None": ...


class Properties:
    """Of a model: `id`, `node` and hyperparameters; of a state: its `epoch`, and metrics, NaN where there is none."""

    def __init__(self, source: Source, rows: np.ndarray):
        """`rows`: the samples' row numbers in the weights, [samples] or [samples, window]."""
        self.source, self.rows, self.epochs = source, rows, source.weights.shape[1]
        self.kept: dict[int, dict[str, Any]] = {}

    @cached_property
    def places(self) -> np.ndarray:
        """The row of each state in `metrics`, the last one if the state is not there. Of the shape of `rows`."""
        known = state_rows(self.source)
        if len(known) == self.source.weights.shape[0] * self.epochs:  # all are there
            return self.rows
        found = np.searchsorted(known, self.rows).clip(max=len(known) - 1)
        return np.where(known[found] == self.rows, found, len(known))

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
        table = self.source.states
        values = np.empty((len(table) + 1, len(tables.METRICS)))
        values[-1] = np.nan
        for number, key in enumerate(tables.METRICS):
            values[:-1, number] = table[key]
        return values

    @cached_property
    def quick(self) -> tuple[Sequence[str], pd.DataFrame]:
        """The nodes, and a row per model of the source, with categories for texts where that takes less time."""
        found = self.source.quick_models() if isinstance(self.source, Quick) else None
        return found or (self.source.models["node"].to_numpy(dtype=object), self.source.models)

    @cached_property
    def nodes(self) -> Sequence[str]:
        """Their names."""
        return self.quick[0]

    @cached_property
    def columns(self) -> dict[str, "Column"]:
        """The hyperparameters of models."""
        table = self.quick[1]
        return {key: Column(table[key]) for key in table if key not in ("id", "node", "variant", *tables.OUTCOME)}

    def of_model(self, model: int) -> dict[str, Any]:
        """All that a sample has; what differs between a model's states is still NaN."""
        found = self.kept.get(model)
        if found is None:
            found = {"id": model, "node": self.nodes[model], "epoch": None}
            found |= {key: column.one(model) for key, column in self.columns.items()}
            found |= dict.fromkeys(tables.METRICS, np.nan)
            if len(self.kept) < KEPT:
                self.kept[model] = found
        return found

    def one(self, place: int, model: int, epoch: int) -> dict[str, Any]:
        """Of the sample whose state has this row in `metrics`."""
        found = self.of_model(model).copy()
        found["epoch"] = epoch
        found.update(zip(tables.METRICS, self.metrics[place].tolist(), strict=True))
        return found

    def of_windows(self, indices: np.ndarray) -> list[dict[str, Any]]:
        """Of these samples; what differs between states is an array [window]."""
        models, epochs = np.divmod(self.rows[indices], self.epochs)
        metrics = np.ascontiguousarray(self.metrics[self.places[indices]].swapaxes(1, 2))  # [samples, metrics, window]
        samples = []
        for model, epoch, values in zip(models[:, 0].tolist(), epochs, metrics, strict=True):
            found = self.of_model(model).copy()
            found["epoch"] = epoch
            found.update(zip(tables.METRICS, values, strict=True))
            samples.append(found)
        return samples

    def collated(self, indices: np.ndarray) -> dict[str, Any]:
        """Of these samples, as PyTorch collates them: numbers as a tensor [samples] or [samples, window], texts as a
        list.
        """
        rows = self.rows[indices]
        models, epochs = np.divmod(rows, self.epochs)
        models = models if rows.ndim == 1 else models[:, 0]
        metrics = self.metrics[self.places[indices]]
        return {
            **{"id": torch.from_numpy(models.copy()), "node": [self.nodes[model] for model in models.tolist()]},
            "epoch": torch.from_numpy(epochs),
            **{key: column.several(models) for key, column in self.columns.items()},
            **{key: torch.from_numpy(metrics[..., number].copy()) for number, key in enumerate(tables.METRICS)},
        }

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


class Column:
    """A column of the table of models, from which single values are taken fast.

    In arrays, of texts that repeat one each: a Python object for every cell would take gigabytes of a large zoo, and
    Python's garbage collection would go through them again and again.
    """

    def __init__(self, column: pd.Series):
        """Of numbers or truth values, or else of texts, or categories of them; what is missing becomes ''."""
        self.texts: np.ndarray | None = None  # all that there are, and '' for the place -1
        if pd.api.types.is_numeric_dtype(column):  # truth values, too
            self.values = np.ascontiguousarray(column.to_numpy())  # of texts: the place in `texts`
        else:
            self.values, texts = (
                (column.cat.codes.to_numpy(), column.cat.categories)
                if isinstance(column.dtype, pd.CategoricalDtype)
                else pd.factorize(column)
            )
            self.texts = np.array([*map(str, texts), ""], dtype=object)

    def one(self, row: int) -> Any:
        value = self.values[row]
        return value.item() if self.texts is None else self.texts[value]

    def several(self, rows: np.ndarray) -> Any:
        """A tensor, or a list of texts."""
        values = self.values[rows]
        return torch.from_numpy(values) if self.texts is None else self.texts[values].tolist()

"""What is to be learnt from a dataset of models: pairs of input and target, made of its samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.dataset.batch import Batch
from zoo.dataset.dataset import ZooDataset
from zoo.errors import ZooError
from zoo.format import tables

OUTCOME = [column for column in tables.OUTCOME if column not in tables.METRICS]  # of a model, rather than its states


class Reconstruction(Dataset[tuple[Any, Any]]):
    """The weights, to be given back: item i is (weights, weights), as the dataset transforms them."""

    def __init__(self, dataset: ZooDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        weights, _ = self.dataset[index]
        return weights, weights

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        return [(weights, weights) for weights in self.dataset.inputs(indices)]


class SequencePrediction(Dataset[tuple[Any, Any]]):
    """From a model's earlier states to a later one: item i is (weights at first, weights at last) of window i.

    For the state at epoch 25 from that at 5: `SequencePrediction(ZooDataset(path, epochs=[5, 25], window=2))`. Of
    longer windows, the input are all states but the last: [window - 1, parameters]. A transform is of the whole window,
    so that a random permutation is the same for both.
    """

    def __init__(self, dataset: ZooDataset):
        if not dataset.window or dataset.window < 2:
            raise ZooError("to predict a state from earlier ones, give the dataset a window of 2 epochs or more")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return parted(self.dataset[index][0])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Any, Any]]:
        return [parted(weights) for weights in self.dataset.inputs(indices)]


def parted(window: Any) -> tuple[Any, Any]:
    """A window [window, ...], or a tuple of such, into what is before its last state, and that state."""
    if isinstance(window, tuple):
        pairs = [parted(part) for part in window]
        make = getattr(type(window), "_make", tuple)  # of a named tuple
        return make(first for first, _ in pairs), make(last for _, last in pairs)
    return (window[0] if len(window) == 2 else window[:-1]), window[-1]


class PropertyPrediction(Dataset[tuple[Any, Tensor]]):
    """From weights to properties: item i is (weights, target).

    Properties are the columns of the dataset's `properties`, and of its `models` those that say how a model turned out:
    `status`, `diverged`, `last_epoch`, `best_epoch`.

    The target of a number, or of several columns with numbers, is float32 [] or [columns]. That of a category is its
    place in `classes`, int64 []: a text is one, and a number if `categorical` says so. `classes` are all of the zoo's,
    sorted: the same for every split. Of a window, the target is of its last state.

    Raises ZooError if there is no such column, or it has no value for some sample.
    """

    def __init__(self, dataset: ZooDataset, columns: str | Sequence[str], categorical: bool = False):
        self.dataset, self.columns = dataset, columns
        table = self.chosen()
        text = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
        if missing := [column for column in table if table[column].isna().any()]:
            where = f"{missing[0]} is not None"
            raise ZooError(f"{missing[0]!r} is missing for some samples: leave them out, e.g. by {where=}")
        self.classes: list[Any] | None = self.all_classes() if categorical or text else None
        if self.classes is None:
            targets = torch.from_numpy(table.to_numpy(dtype=np.float32, copy=True))
            self.targets = targets.squeeze(1) if isinstance(columns, str) else targets
        else:
            places = {value: place for place, value in enumerate(self.classes)}
            self.targets = torch.tensor([places[value] for value in table[columns]], dtype=torch.int64)

    def chosen(self) -> pd.DataFrame:
        """The columns, a row per sample."""
        columns = [self.columns] if isinstance(self.columns, str) else list(self.columns)
        known = self.dataset.last_properties
        of_models = self.dataset.models.set_index("id")[OUTCOME].loc[known["id"]]
        known = known.assign(**{column: of_models[column].to_numpy() for column in OUTCOME})
        if unknown := [column for column in columns if column not in known]:
            raise ZooError(f"{self.dataset.path} has no property {unknown[0]!r}: choose from {', '.join(known)}")
        if not columns:
            raise ZooError(f"there is no property to predict: choose from {', '.join(known)}")
        return known[columns]

    def all_classes(self) -> list[Any]:
        if not isinstance(self.columns, str):
            raise ZooError(f"{', '.join(self.columns)}: give one column of categories, or several of numbers")
        if self.columns == "epoch":
            return self.dataset.epochs
        if self.columns not in self.dataset.models or self.columns in ("id", *tables.METRICS):
            raise ZooError(f"{self.columns!r} has no categories: choose a hyperparameter, or how a model turned out")
        values = self.dataset.models[self.columns]
        is_number = pd.api.types.is_numeric_dtype(values)
        return sorted((values.dropna() if is_number else values.fillna("").astype(str)).unique().tolist())

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Tensor]:
        return self.dataset[index][0], self.targets[index]

    def __getitems__(self, indices: Any) -> Batch:
        return Batch(self, indices)

    def several(self, indices: np.ndarray) -> list[tuple[Any, Tensor]]:
        return list(zip(self.dataset.inputs(indices), self.targets[torch.from_numpy(indices)], strict=True))

    def collated(self, indices: np.ndarray) -> list[Any]:
        return [self.dataset.collated_inputs(indices), self.targets[torch.from_numpy(indices)]]

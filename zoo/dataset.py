"""A zoo as a data set of models: their weights, and the properties that go with them."""

import operator
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import Dataset

from zoo import files, paths, tables
from zoo.architecture import Architecture
from zoo.data.images import Images
from zoo.errors import ZooError
from zoo.weights import Weights

SPLITS = ("train", "val", "test")


class ZooDataset(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Model states as samples: item i is (weights [parameters], properties).

    Samples are ordered by model (as in models.csv), then by epoch. Weights are memory-mapped: opening a zoo reads
    none of them, and processes share them. Properties are the model (`id`, `node`), its hyperparameters (`factors`
    names those that vary), the `epoch`, and there losses, accuracies and `ggap`, train minus test accuracy.
    """

    def __init__(
        self,
        path: Path | str,
        epochs: int | Iterable[int] | None = None,
        split: str | None = None,
        finite: bool = True,
    ):
        """`epochs`: the ones to take, None for all; 0 is the initialisation. `split`: train, val or test, which are
        70, 15 and 15 % of the models (see `split_models`), each with all its epochs; None for all models.

        `finite` leaves out states that do not exist, since their model is unfinished or diverged before, and states
        with weights that are not finite. Otherwise the former are samples, too, with NaN for weights and metrics.

        Raises ZooError for a folder that is no zoo, a damaged file, and an unknown epoch or split.
        """
        self.path, self.split, self.finite = Path(path), split, finite
        if not (paths.models(self.path).exists() and paths.config(self.path).exists()):
            raise ZooError(f"{path} is no zoo: give a folder that `python analyze.py` made, or an unpacked zip of one")
        self.architecture = Architecture.load(paths.architecture(self.path))
        self.factors = list(files.read_json(paths.config(self.path))["search_pattern"])
        self.models = tables.read(paths.models(self.path))
        self.mapped = Weights(self.path)
        count, self.epoch_count, length = self.mapped.shape
        if (count, length) != (len(self.models), self.architecture.length):
            raise ZooError(
                f"{path} is damaged: it has weights of {count} models with {length} numbers each, but its tables are of "
                f"{len(self.models)} models with {self.architecture.length}. Get it anew, or run `python analyze.py`"
            )
        self.epochs = self.check_epochs(epochs)
        chosen = np.arange(count) if split is None else self.split_ids(split)
        # the samples, as rows of the weights: model x epochs + epoch
        rows = np.add.outer(chosen * self.epoch_count, self.epochs).ravel()
        states = tables.read(paths.metrics(self.path))
        states.index = states["id"] * self.epoch_count + states["epoch"]
        if finite:
            rows = rows[np.isin(rows, states.index[~states["diverged"]])]
        self.rows = rows
        ...

"""A zoo as a data set of models: their weights, and the properties that go with them."""

import hashlib
import operator
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import Dataset

from zoo.data.images import Images
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.reading import damaged, json_object, reading, require_file
from zoo.format.weights import Weights
from zoo.installation import command

SPLITS = ("train", "val", "test")
SHARES = (70, 85)  # the percentiles that part them


class ZooDataset(Dataset[tuple[Tensor, dict[str, Any]]]):
    """Model states as samples: item i is (weights [parameters], properties).

    Samples are ordered by model (as in models.csv), then by epoch. Weights are memory-mapped: opening a zoo reads
    none of them, and processes share them. Properties are the model (`id`, `node`), the `epoch`, the model's
    hyperparameters (`factors` names those that vary), and at this epoch losses, accuracies and `ggap`, the
    generalisation gap: train minus test accuracy.
    """

    def __init__(
        self,
        path: Path | str,
        epochs: int | Iterable[int] | None = None,
        split: str | None = None,
        finite: bool = True,
    ):
        """`epochs`: the ones to take, None for all; 0 is the initialisation. `split`: train, val or test, which are
        about 70, 15 and 15 % of the models, each with all its epochs; None for all models. A model's split follows
        from its node's name alone (see `split_models`): it stays when a zoo grows or is merged. In a zoo of few models
        the shares are far from these, and a split can be empty: then so is the dataset.

        `finite` leaves out states that do not exist, since their model is unfinished or diverged before, and states
        with weights that are not finite. Otherwise the former are samples, too, with NaN for weights and metrics.

        Raises ZooError for a folder that is no zoo, a damaged file, and an unknown epoch or split.
        """
        self.path, self.split, self.finite = Path(path), split, finite
        if not (paths.models(self.path).exists() and paths.config(self.path).exists()):
            made = f"a folder that `{command('analyze')}` made"
            raise ZooError(f"{path} is no zoo: give {made}, or an unpacked zip of one")
        self.architecture = Architecture.load(paths.architecture(self.path))
        self.mapped = Weights(self.path)
        count, there, length = self.mapped.shape
        self.models = tables.read_models(paths.models(self.path), len(self.architecture.variants))
        if (count, length) != (len(self.models), self.architecture.length):
            raise ZooError(
                f"{self.path} is damaged: it has weights of {count} models with {length} numbers each, but a table of "
                f"{len(self.models)} and an architecture of {self.architecture.length}. Get the zoo anew, or make it "
                f"by `{command('analyze')}`"
            )
        self.states = tables.read_states(paths.metrics(self.path), count, there)
        tables.require_outcome(paths.models(self.path), self.models, self.states, max_epochs=there - 1)
        self.factors = read_factors(paths.config(self.path), self.models)
        self.epochs = self.check(epochs)
        self.rows = self.choose()

    def check(self, epochs: int | Iterable[int] | None) -> list[int]:
        """The epochs, sorted."""
        there = range(self.mapped.shape[1])
        if epochs is None:
            return list(there)
        try:
            asked = sorted({operator.index(epoch) for epoch in (epochs if isinstance(epochs, Iterable) else [epochs])})
        except TypeError:
            raise ZooError(f"epochs={epochs!r}: give a whole number or several") from None
        if not asked or not set(asked) <= set(there):
            raise ZooError(f"epochs={epochs!r}: {self.path} has the epochs 0 to {there[-1]}")
        return asked

    def choose(self) -> np.ndarray:
        """The samples, ascending, as rows of the weights: model x epochs + epoch."""
        if self.split is not None and self.split not in SPLITS:
            raise ZooError(f"unknown split {self.split!r}: choose from {', '.join(SPLITS)}, or None for all models")
        models = self.models["id"].to_numpy()
        if self.split is not None:
            models = models[split_models(self.models["node"].tolist()) == self.split]
        rows = np.add.outer(models * self.mapped.shape[1], self.epochs).ravel()
        if self.finite:
            rows = rows[np.isin(rows, self.row_of(self.states[~self.states["diverged"]]))]
        return rows

    def row_of(self, states: pd.DataFrame) -> np.ndarray:
        return (states["id"] * self.mapped.shape[1] + states["epoch"]).to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Any]]:
        model, epoch = divmod(int(self.rows[index]), self.mapped.shape[1])
        return self.mapped.state(model, epoch), {key: values[index] for key, values in self.values.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker process maps the files anew rather than be sent what is in them."""
        return type(self), (self.path, self.epochs, self.split, self.finite)

    @cached_property
    def weights(self) -> Tensor:
        """The weights of all samples [samples, parameters].

        Views of the file for all states, or for one epoch of all models, of a zoo whose weights are one file;
        otherwise they are copied to memory when first used. Changing them never changes the file.
        """
        return self.mapped.states(self.rows)

    @cached_property
    def properties(self) -> pd.DataFrame:
        """The properties of all samples, a row each. A hyperparameter that a model does not have is NaN or ''."""
        epochs = self.mapped.shape[1]
        table = self.models.drop(columns=["variant", *tables.OUTCOME]).iloc[self.rows // epochs].reset_index(drop=True)
        for key in table.select_dtypes(exclude=["number", "bool"]):
            table[key] = table[key].fillna("").astype(str)
        table.insert(table.columns.get_loc("node") + 1, "epoch", self.rows % epochs)
        metrics = self.states[tables.METRICS].set_index(self.row_of(self.states))
        return table.join(metrics.reindex(self.rows).reset_index(drop=True))

    @cached_property
    def values(self) -> dict[str, list[Any]]:
        return {key: column.tolist() for key, column in self.properties.items()}

    def state_dict(self, model: int | str, epoch: int) -> dict[str, Tensor]:
        """A model's state at an epoch, to be loaded into the class in the zoo's model.py. `model`: its id, or node."""
        found = self.models[(self.models["id"] == model) | (self.models["node"] == model)]
        if found.empty:
            raise ZooError(f"{self.path} has no model {model!r}: give an id or a node of {paths.models(self.path)}")
        row = found.iloc[0]
        if not 0 <= epoch <= row["last_epoch"]:
            raise ZooError(f"the model {model!r} has the epochs 0 to {row['last_epoch']}, but not {epoch}")
        return self.architecture.unflatten(self.mapped.state(row["id"], epoch), row["variant"])

    def images(self) -> Images:
        """The images that the models were trained on."""
        require_file(paths.images(self.path))
        return Images.load(paths.images(self.path))


def read_factors(config: Path, models: pd.DataFrame) -> list[str]:
    """The generating factors: what config.json says that varies, of which models.csv has the values."""
    saved = json_object(config)
    with reading(config):
        pattern = saved["search_pattern"]
        if not isinstance(pattern, dict) or not all(isinstance(values, list) for values in pattern.values()):
            raise damaged(config, "`search_pattern` is no object of lists")
        hyperparameters = set(models) - {"id", "node", "variant", *tables.OUTCOME}
        if unknown := [factor for factor in pattern if factor not in hyperparameters]:
            raise damaged(config, f"the factor {unknown[0]!r} is no column of models.csv")
    return list(pattern)


def split_models(nodes: Sequence[str]) -> np.ndarray:
    """The split [models] of each model: by the name of its node alone, whatever else is in the zoo.

    The first 8 bytes of the name's SHA-256 (UTF-8), read as a big-endian number below 2**64, lie somewhere on a scale
    of 100: below 70 is train, below 85 val, the rest test.
    """
    places = [int.from_bytes(hashlib.sha256(node.encode()).digest()[:8], "big") * 100 >> 64 for node in nodes]
    return np.array(SPLITS, dtype=object)[np.searchsorted(SHARES, places, side="right")]

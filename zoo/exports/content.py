"""What is exported: the states of a zoo at some epochs, read piece by piece."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from zoo.dataset.dataset import ZooDataset, split_models
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture

LAST, BEST, ALL = "last", "best", "all"
PIECE_BYTES = 2**25  # of weights that are in memory at a time


class Content:
    """`states` is a table with a row per state, by model and then by epoch: `id`, `node`, `epoch`, the model's
    hyperparameters, and the metrics at this epoch. Row i's vector is row i of `weights`.
    """

    def __init__(self, zoo: Path, epochs: str = ALL, finite: bool = True):
        """`epochs`: last or best (of each model), all, or numbers with commas, -1 the last there are.
        `finite`: only states whose weights are.

        Raises ZooError for a folder that is no zoo, for epochs that it doesn't have, and if nothing is left.
        """
        self.zoo = zoo
        self.dataset = ZooDataset(zoo)
        there = self.dataset.states
        taken = chosen(there, self.dataset.models, epochs, self.max_epochs)
        self.states = self.described(there[taken & ~there["diverged"]] if finite else there[taken])
        if self.states.empty:
            raise ZooError(f"{zoo} has no state{' that is finite' * finite} at the epochs {epochs}")

    @property
    def architecture(self) -> Architecture:
        return self.dataset.architecture

    @property
    def max_epochs(self) -> int:
        return self.dataset.mapped.shape[1] - 1

    def described(self, states: pd.DataFrame) -> pd.DataFrame:
        """Rows of metrics.csv, with what models.csv says of their models."""
        models = self.dataset.models.drop(columns=["id", "variant", *tables.OUTCOME])
        for key in models.select_dtypes(exclude=["number", "bool"]):
            models[key] = models[key].fillna("").astype(str)
        table = states[["id", "epoch"]].join(models, on="id").join(states[tables.METRICS])
        table.insert(1, "node", table.pop("node"))
        return table.reset_index(drop=True)

    def __len__(self) -> int:
        return len(self.states)

    def narrow(self, taken: pd.Series | np.ndarray) -> None:
        """Keep some of the states alone, for a format that can't hold the others."""
        self.states = self.states[taken].reset_index(drop=True)

    @property
    def models(self) -> pd.DataFrame:
        """The rows of models.csv of the models that have a state here; the index is the id."""
        return self.dataset.models.loc[self.states["id"].unique()]

    @cached_property
    def splits(self) -> np.ndarray:
        """The split [states] of each state's model, as `ZooDataset` has it: train, val or test."""
        return split_models(self.dataset.models["node"].tolist())[self.states["id"]]

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Vectors [rows, parameters], float32; `rows` of `states`, ascending."""
        return self.dataset.mapped.states(self.places(rows)).numpy()

    def places(self, rows: np.ndarray) -> np.ndarray:
        """Where the vectors lie in the zoo's weights: model x epochs + epoch."""
        states = self.states.iloc[rows]
        return (states["id"] * (self.max_epochs + 1) + states["epoch"]).to_numpy()

    def pieces(self, rows: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """The rows (all of them, unless some are given), so many at a time as fit into memory without a thought."""
        rows = np.arange(len(self)) if rows is None else rows
        size = max(1, PIECE_BYTES // (4 * self.architecture.length))
        for first in range(0, len(rows), size):
            yield rows[first : first + size]

    def shown_pieces(self) -> Iterator[np.ndarray]:
        """All rows, with a progress bar."""
        with tqdm(total=len(self), desc="exporting", unit="state") as progress:
            for rows in self.pieces():
                yield rows
                progress.update(len(rows))


def chosen(states: pd.DataFrame, models: pd.DataFrame, epochs: str, max_epochs: int) -> pd.Series:
    """Which of the states are at the epochs. Raises ZooError if `epochs` says none that the zoo has."""
    if epochs == ALL:
        return states["epoch"] >= 0
    if epochs in (LAST, BEST):
        return states["epoch"].eq(states["id"].map(models[f"{epochs}_epoch"])).fillna(False).astype(bool)
    return states["epoch"].isin(numbers(epochs, max_epochs))


def numbers(epochs: str, max_epochs: int) -> list[int]:
    """The epochs in a text such as 0,25,50; those below 0 count from the last there are, which is -1."""
    parts = epochs.split(",")
    whole = all(re.fullmatch(r"-?\d{1,9}", part, re.ASCII) for part in parts)
    if not whole or not all(-max_epochs - 1 <= int(part) <= max_epochs for part in parts):
        raise ZooError(
            f"--epochs {epochs}: give {LAST}, {BEST}, {ALL}, or numbers up to {max_epochs}, such as 0,{max_epochs}"
        )
    return [int(part) % (max_epochs + 1) for part in parts]

"""What every population made elsewhere has in common, once its own reader knows where what is."""

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.errors import ZooError
from zoo.foreign.known import Choice
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.reading import is_plain_name
from zoo.format.train_metrics import UNKNOWN as UNKNOWN_METRICS

if TYPE_CHECKING:
    from zoo.data.images import Images

Params = dict[str, Any]
Record = dict[str, Any]  # LOSSES_AND_ACCURACIES, None where unknown; `diverged`; other numbers

MOST_EPOCHS = 9_999  # of a population: the axis of epochs is dense, in a zoo made of it


class Population(ABC):
    """A `zoo.format.source.Source` whose tables follow from what is known of each model.

    Models are in the order of `nodes`. What is damaged is a ZooError when it is read; models that can't be in the
    population at all are in `missing`, with the reason.
    """

    kind: str  # what it is called in `convert --from`
    path: Path
    architecture: Architecture
    choice: Choice | None  # what conf/model has of the class, if this project has it
    nodes: list[str]
    epochs: int  # how many there are places for
    missing: dict[str, str]
    others: Sequence[str] = ()  # the numbers that records have beside losses and accuracies
    about = ""  # what a reader of a zoo made of it must know, in one paragraph

    @abstractmethod
    def params(self, model: int) -> Params:
        """The model's hyperparameters: the foreign keys, and those that one types. `node`, `config.model` if known."""

    @abstractmethod
    def variant(self, model: int) -> int: ...

    @abstractmethod
    def history(self, model: int) -> dict[int, Record]:
        """What is known of the model by epoch, whether its state is there or not."""

    @abstractmethod
    def kept(self, model: int) -> list[int]:
        """The epochs whose states are there, ascending."""

    @abstractmethod
    def vector(self, model: int, epoch: int) -> np.ndarray:
        """float32 [parameters] of a state that is there."""

    def checkpoint(self, model: int, epoch: int) -> bytes | None:
        """The content of the file of a state that is there, if that is a bare state dict; None otherwise."""
        return None

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        """The file beside a state that has the optimizer's; None where none is kept."""
        return None

    def vector_in(self, model: int, epoch: int, checkpoint: bytes) -> np.ndarray:
        """The vector in what `checkpoint` gave, without reading it again."""
        return self.vector(model, epoch)

    def file(self, model: int, epoch: int) -> str | None:
        """Where that file lies by itself, to be linked; None in a zip file."""
        return None

    def protocol(self) -> dict[str, Any]:
        """What is known to be the same for all models, by the names one types, beside what `params` say."""
        return {"train_metrics": UNKNOWN_METRICS}

    def images(self) -> "Images":
        raise ZooError(f"{self.path} has no images that can be read: prepare those that its models were trained on")

    @cached_property
    def weights(self) -> "FileStates":
        return FileStates(self)

    @cached_property
    def states(self) -> pd.DataFrame:
        """A row per state that is there; NaN where its losses and accuracies are unknown."""
        columns = [*tables.LOSSES_AND_ACCURACIES, "diverged", *self.others]
        rows = []
        for model in range(len(self.nodes)):
            history = self.history(model)
            for epoch in self.kept(model):
                record = history.get(epoch, UNKNOWN)
                rows.append((model, epoch, *(record.get(column) for column in columns)))
        table = pd.DataFrame(rows, columns=["id", "epoch", *columns])
        table = table.astype(dict.fromkeys([*tables.LOSSES_AND_ACCURACIES, *self.others], float) | {"diverged": bool})
        table.insert(table.columns.get_loc("diverged"), "ggap", table["train_acc"] - table["test_acc"])
        return table

    @cached_property
    def models(self) -> pd.DataFrame:
        variants = [self.variant(model) for model in range(len(self.nodes))]
        return tables.models(self.everything, variants, self.factors, self.states, self.epochs - 1)

    @cached_property
    def factors(self) -> list[str]:
        return list(self.search_pattern)

    @cached_property
    def search_pattern(self) -> dict[str, list[Any]]:
        """Every hyperparameter that is not the same for all models, with its values; the seed last."""
        return varying(self.everything)

    @property
    def everything(self) -> list[Params]:
        """The parameters of all models."""
        return [self.params(model) for model in range(len(self.nodes))]


UNKNOWN: Record = {"diverged": False}  # of a state without a record


def varying(params: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of each hyperparameter that has several among the models, sorted; the seed last."""
    found: dict[str, dict[str, Any]] = {}
    for number, node in enumerate(params):
        for key, value in node.items():
            if is_hyperparameter(key):
                values = found.setdefault(key, {} if not number else {"null": None})
                values[json.dumps(value, sort_keys=True)] = value
        for key in found.keys() - node.keys():
            found[key]["null"] = None
    several = {key: values for key, values in found.items() if len(values) > 1}
    return {
        key: sorted((value for value in several[key].values() if value is not None), key=tables.rank)
        for key in sorted(several, key=lambda key: key == "seed")
    }


def is_hyperparameter(key: str) -> bool:
    """Whether a key of params.json can be a column; keys of the 2022 zoos are columns by the names one types."""
    return key not in ("node", "config", *tables.RESERVED) and "::" not in key and is_plain_name(key)


def natural(name: str) -> list[Any]:
    """For sorting names with numbers in them by the numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d{1,18})", name)]


@dataclass(frozen=True)
class FileStates:
    """The weights of a population, each state read when it is asked for."""

    population: Population

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.population.nodes), self.population.epochs, self.population.architecture.length

    def state(self, model: int, epoch: int) -> Tensor:
        return self.states(np.array([model * self.population.epochs + epoch]))[0]

    def states(self, rows: np.ndarray) -> Tensor:
        found = np.full((len(rows), self.shape[2]), np.nan, np.float32)
        for place, row in enumerate(rows.tolist()):
            model, epoch = divmod(row, self.population.epochs)
            if epoch in self.population.kept(model):
                found[place] = self.population.vector(model, epoch)
        return torch.from_numpy(found)


def number(value: Any, key: str, unit: float = 1.0) -> float | None:
    """A loss or accuracy of a foreign record; None for what says that there is none. Raises ValueError for others.

    The 2022 zoos have -999 where nothing was measured.
    """
    if value is None or value == -999:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {value!r}")
    if not math.isfinite(value):
        return None
    if key in tables.ACCURACIES and not 0 <= value <= 1:
        raise ValueError(f"{key} is {value!r}, no share from 0 to 1")
    return float(value)

"""What a dataset of models stands on: a zoo of ours, in a folder or a zip file, or a population made elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from zoo.format.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.data.images import Images


class States(Protocol):
    """The weights of all models at all epochs; nothing is read before it is asked for.

    The axis of epochs is dense, from 0 to the last of any model; states that are not there are NaN.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """[models, epochs, parameters]."""

    def state(self, model: int, epoch: int) -> "Tensor":
        """float32 [parameters]: a view where they are mapped. Both numbers count from 0, and are within the shape."""

    def states(self, rows: np.ndarray) -> "Tensor":
        """float32 [rows, parameters], by row number: model x epochs + epoch. In any order, and as often as asked."""


class Source(Protocol):
    """A population of models of one architecture.

    Opening one reads no weights. What is missing, damaged or elsewhere is a ZooError that names the file: when it is
    opened, or, in a population so large that its tables are read late, when they are first used.
    """

    @property
    def path(self) -> Path:
        """What the user gave."""

    @property
    def architecture(self) -> Architecture: ...

    @property
    def weights(self) -> States: ...

    @property
    def models(self) -> pd.DataFrame:
        """The columns of models.csv (docs/zoo_format.md), a row per model: `id` is the row, from 0."""

    @property
    def states(self) -> pd.DataFrame:
        """The columns of metrics.csv, a row per state that there is, by `id` and `epoch`."""

    @property
    def factors(self) -> list[str]:
        """The generating factors: columns of `models`."""

    def params(self, model: int) -> dict[str, Any]:
        """What the model's params.json holds. `config.model` is as conf/model has it, where the class is known here."""

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        """The file that has the optimizer's state beside the model's at an epoch; None where none is kept."""

    def images(self) -> "Images":
        """The images that the models were trained on. Raises ZooError where there are none."""


# Opens a path as a source; None if it is none of its kind. Raises ZooError if it is, but damaged.
Opener = Callable[[Path], Source | None]

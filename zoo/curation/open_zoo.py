"""A zoo opened to be checked, united with others or cut: its files as they are, with nothing chosen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pandas as pd

from zoo.collation.config import fault_of_config
from zoo.data.images import Images
from zoo.dataset.folder import is_zoo
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.node_table import Row, read_nodes
from zoo.format.reading import REMEDY, damaged, is_plain_name, json_object, reading, require_file
from zoo.format.runs import Runs
from zoo.format.weights import Weights
from zoo.installation import command


def require_zoo(path: Path) -> None:
    if not is_zoo(os.path.exists, path):
        if paths.checksums(path).is_file():
            missing = next(place(path) for place in (paths.config, paths.models) if not place(path).exists())
            raise ZooError(f"{missing} is missing: {REMEDY}")
        raise ZooError(f"{path} is no zoo: give a folder that `{command('analyze')}` made, or an unpacked zip of one")


@dataclass(frozen=True)
class OpenZoo:
    """What a zoo's files say. Nothing of the weights is read before it is used."""

    path: Path
    config: Mapping[str, Any]
    architecture: Architecture
    weights: Weights
    models: pd.DataFrame  # models.csv
    states: pd.DataFrame  # metrics.csv

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises ZooError, which names the file, if anything is damaged, or contradicts the rest."""
        require_zoo(path)
        config = json_object(paths.config(path))
        with reading(paths.config(path)):
            if fault := fault_of_config(config, elsewhere="converted" in config):
                raise ValueError(fault)
        architecture, weights = Architecture.load(paths.architecture(path)), Weights(path)
        count, epochs, length = weights.shape
        models = tables.read_models(paths.models(path), len(architecture.variants))
        if (count, length) != (len(models), architecture.length):
            raise damaged(
                paths.weights(path),
                f"it has weights of {count} models with {length} numbers each, but the table has {len(models)} and "
                f"architecture.json {architecture.length}",
            )
        states = tables.read_states(paths.metrics(path), count, epochs)
        tables.require_outcome(paths.models(path), models, states, epochs - 1)
        if config["protocol"]["trainer.max_epochs"] != epochs - 1:
            raise damaged(paths.config(path), f"trainer.max_epochs contradicts weights of {epochs} epochs")
        return cls(path, config, architecture, weights, models, states)

    @cached_property
    def runs(self) -> Runs:
        return Runs(self.path)

    @property
    def nodes(self) -> list[str]:
        """By id."""
        return self.models["node"].tolist()

    @property
    def max_epochs(self) -> int:
        return self.weights.shape[1] - 1

    @property
    def is_converted(self) -> bool:
        """Whether the models were trained elsewhere: then there need be no images, and no code of theirs."""
        return "converted" in self.config

    @property
    def images_digest(self) -> str | None:
        """None where there are no images."""
        without = self.is_converted and not paths.images(self.path).exists()
        return None if without else self.images().digest

    def images(self) -> Images:
        require_file(paths.images(self.path))
        return Images.load(paths.images(self.path))

    @cached_property
    def rows(self) -> dict[str, Row]:
        """The values of nodes by the names one types, as config.json and nodes.csv have them: also of missing ones.

        Those of version 0.1.0 are empty.
        """
        if not paths.nodes(self.path).exists():
            return {name: {} for name in read_nodes(self.path)}
        with reading(paths.nodes(self.path)):
            named = (is_plain_name,) if self.is_converted else ()  # nodes of others are called as these call them
            return {name: {**self.config["protocol"], **row} for name, row in read_nodes(self.path, *named).items()}

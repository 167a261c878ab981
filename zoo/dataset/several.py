"""Several zoos of one architecture as one source."""

import bisect
import itertools
from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo.data.images import Images
from zoo.errors import ZooError
from zoo.format.source import Source, States


class JoinedStates:
    """One model after another, of all. Where others have more epochs, a zoo's states are NaN."""

    def __init__(self, parts: Sequence[States]):
        self.parts = list(parts)
        *self.firsts, models = itertools.accumulate((part.shape[0] for part in parts), initial=0)
        self.shape = (models, max(part.shape[1] for part in parts), parts[0].shape[2])

    def state(self, model: int, epoch: int) -> Tensor:
        number = bisect.bisect(self.firsts, model) - 1
        part = self.parts[number]
        if epoch >= part.shape[1]:
            return torch.full((self.shape[2],), torch.nan)
        return part.state(model - self.firsts[number], epoch)

    def states(self, rows: np.ndarray) -> Tensor:
        found = torch.full((len(rows), self.shape[2]), torch.nan)
        models, epochs = np.divmod(rows, self.shape[1])
        for first, part in zip(self.firsts, self.parts, strict=True):
            own = (models >= first) & (models < first + part.shape[0]) & (epochs < part.shape[1])
            found[torch.from_numpy(own)] = part.states((models[own] - first) * part.shape[1] + epochs[own])
        return found


class Several:
    """Their models get new ids, one zoo after another, and a column `zoo` with its name."""

    def __init__(self, sources: Sequence[Source]):
        """Raises ZooError if there are none, or their architectures differ."""
        if not sources:
            raise ZooError("there is no zoo to open: give the paths of one or more")
        self.sources = list(sources)
        self.path = Path(" + ".join(str(source.path) for source in sources))  # to be named in errors
        self.architecture = deepcopy(sources[0].architecture)
        for source in sources[1:]:
            self.add_variants(source)
        joined = JoinedStates([source.weights for source in sources])
        self.weights, self.firsts = joined, joined.firsts

    def add_variants(self, source: Source) -> None:
        try:
            self.architecture.add_variants(source.architecture)
        except ValueError as error:
            first = self.sources[0].path
            raise ZooError(f"{source.path} has another architecture than {first} ({error}): open it alone") from error

    @cached_property
    def names(self) -> list[str]:
        """Of the zoos: those of their folders, or where these are alike their paths."""
        names = [source.path.stem if source.path.is_file() else source.path.name for source in self.sources]
        return names if len(set(names)) == len(names) else [str(source.path) for source in self.sources]

    @cached_property
    def models(self) -> pd.DataFrame:
        parts = []
        for first, name, source in zip(self.firsts, self.names, self.sources, strict=True):
            place = [self.architecture.variants.index(keys) for keys in source.architecture.variants]
            variants = np.array(place)[source.models["variant"]]
            part = source.models.assign(id=source.models["id"] + first, variant=variants)
            part.insert(part.columns.get_loc("node") + 1, "zoo", name)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def states(self) -> pd.DataFrame:
        parts = zip(self.firsts, self.sources, strict=True)
        return pd.concat([part.states.assign(id=part.states["id"] + first) for first, part in parts], ignore_index=True)

    @cached_property
    def factors(self) -> list[str]:
        return list(dict.fromkeys(factor for source in self.sources for factor in source.factors))

    def params(self, model: int) -> dict[str, Any]:
        number = bisect.bisect(self.firsts, model) - 1
        return self.sources[number].params(model - self.firsts[number])

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        number = bisect.bisect(self.firsts, model) - 1
        return self.sources[number].optimizer(model - self.firsts[number], epoch)

    def images(self) -> Images:
        first, *others = (source.images() for source in self.sources)
        for source, images in zip(self.sources[1:], others, strict=True):
            if images.digest != first.digest:
                raise ZooError(f"{source.path} was trained on other images than {self.sources[0].path}: open one zoo")
        return first

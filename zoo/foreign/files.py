"""Populations of which each state is a file that a table names: what the readers of such tables share."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.foreign.container import STATE, Folder
from zoo.foreign.known import Choice
from zoo.foreign.population import Params, Population, Record
from zoo.foreign.states import StateDecoder, Unwrap, itself
from zoo.format.architecture import Architecture
from zoo.format.reading import is_plain_name

STEP = "step"


@dataclass(frozen=True)
class Member:
    """A model by what a table says of it."""

    node: str
    params: Params
    choice: Choice | None
    files: dict[int, str]  # by step
    records: dict[int, Record]  # by step


class FilePopulation(Population):
    """Of models of one architecture. Their states are of few steps: `epoch` counts those that any model has."""

    others = (STEP,)

    def __init__(
        self,
        path: Path,
        files: Folder,
        architecture: Architecture,
        members: list[Member],
        missing: dict[str, str],
        unwrap: Unwrap = itself,
    ):
        self.path, self.files, self.architecture, self.members = path, files, architecture, members
        self.missing, self.unwrap = missing, unwrap
        self.nodes = [member.node for member in members]
        self.steps = sorted({step for member in members for step in member.files})
        self.epochs = len(self.steps)
        self.epoch_of = {step: epoch for epoch, step in enumerate(self.steps)}
        self.choice = members[0].choice
        self.decoder = StateDecoder(architecture, unwrap)

    def params(self, model: int) -> Params:
        member = self.members[model]
        config = {"config": {"model": member.choice} if member.choice else {}}
        return {**member.params, "node": member.node, **config}

    def variant(self, model: int) -> int:
        return 0

    def history(self, model: int) -> dict[int, Record]:
        records = self.members[model].records
        return {self.epoch_of[step]: record | {STEP: step} for step, record in records.items()}

    def kept(self, model: int) -> list[int]:
        return [self.epoch_of[step] for step in sorted(self.members[model].files)]

    def vector(self, model: int, epoch: int) -> np.ndarray:
        name = self.members[model].files[self.steps[epoch]]
        return self.decoder.vector(lambda: self.files.named(name), self.files.read(name, STATE))


def names_of(places: list[str]) -> dict[str, str]:
    """The name of each model by where it lies: the last part, where these are plain and different, or else numbers."""
    names = [place.rpartition("/")[2] for place in places]
    if len(set(names)) == len(names) and all(map(is_plain_name, names)):
        return dict(zip(places, names, strict=True))
    return {place: f"model_{number:06d}" for number, place in enumerate(places)}

"""A zoo put together in a folder: models one after another, then what is said of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from zoo.disk import files, paths
from zoo.format import binary_tables, tables
from zoo.format.architecture import Architecture
from zoo.format.compact import COMPACT, FOLDERS, RunArchiveWriter, leave_out
from zoo.format.weights import WeightsWriter

Params = dict[str, Any]  # what a params.json holds
Records = list[dict[str, Any]]  # a model's losses and accuracies, and whether it `diverged`, by epoch from 0


@dataclass(frozen=True)
class Member:
    """A model that is in the zoo."""

    params: Params
    variant: int  # of the architecture
    records: Records


class ZooWriter:
    """Writes weights and tables into an empty folder; a context, at whose end they are complete.

    The rest is for the caller to put there: config.json, images, model.py, and before a model is added its run.
    """

    def __init__(
        self,
        zoo: Path,
        architecture: Architecture,
        max_epochs: int,
        factors: Sequence[str],
        files: str = FOLDERS,
        others: Sequence[str] = (),
    ):
        """`factors`: the generating factors, as in the search pattern of config.json. `files`: how runs are kept.

        `others`: what records have beside losses and accuracies, to be columns of the table of states: `kept` (whether
        the state is there), and numbers.
        """
        self.zoo, self.architecture, self.max_epochs, self.factors = zoo, architecture, max_epochs, factors
        self.others = others
        self.weights = WeightsWriter(zoo, max_epochs + 1, architecture.length)
        self.archive = RunArchiveWriter(zoo) if files == COMPACT else None
        self.members: list[Member] = []

    def __enter__(self) -> Self:
        self.weights.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.weights.__exit__(kind, error, trace)
        if self.archive:
            self.archive.__exit__(kind, error, trace)
        if kind is None:
            self.write_tables()
            self.architecture.save(paths.architecture(self.zoo))
            files.write_json(paths.index_dict(self.zoo), self.architecture.index_dict())

    def add(self, params: Params, variant: int, records: Sequence[Mapping[str, Any]], states: Tensor) -> None:
        """The next model. `states`: float32 [epochs, parameters], of the records' epochs.

        A record has at least the keys LOSSES_AND_ACCURACIES and `diverged` of `zoo.format.tables`, and the `others`.
        """
        keys = (*tables.LOSSES_AND_ACCURACIES, "diverged", *self.others)
        self.weights.add(states)
        self.members.append(Member(params, variant, [{key: record[key] for key in keys} for record in records]))
        if self.archive and (run := paths.runs(self.zoo) / params["node"]).exists():
            leave_out(run, self.architecture, variant, states.numpy())
            self.archive.take(params["node"])

    def write_tables(self) -> None:
        """The tables of models and of states, of a large zoo in binary, too."""
        states = tables.states([member.records for member in self.members], self.others)
        there = states
        if tables.KEPT in states:
            there = states[states[tables.KEPT]].drop(columns=tables.KEPT)
            states = there if len(there) == len(states) else states
        params, variants = [member.params for member in self.members], [member.variant for member in self.members]
        tables.write(paths.models(self.zoo), tables.models(params, variants, self.factors, there, self.max_epochs))
        tables.write(paths.metrics(self.zoo), states)
        binary_tables.write(self.zoo, self.max_epochs + 1, len(self.architecture.variants))

"""A zoo's runs, each looked at as a whole: its files, its records, its states beside the weights of the zoo."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoo.curation.findings import CHANGED, Finding
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.record import KEPT, OPTIMIZER_DIGEST, STATE_DIGEST, Record, parsed
from zoo.format.runs import Runs
from zoo.format.states import StateReader
from zoo.format.weights import Weights

LOOKED_AT = (*tables.LOSSES_AND_ACCURACIES, "diverged")  # of a record
DAMAGED = (ZooError, ValueError, KeyError, TypeError, RecursionError)  # what parsing anyone's file can raise
TABLE, SUMS = paths.models(Path()).name, paths.checksums(Path()).name


@dataclass(frozen=True)
class Task:
    """The run of a model. `there`: the files in its folder, each with the sha256 that it should have, if known."""

    model: int
    node: str
    variant: int
    last_epoch: int
    there: Mapping[str, str | None]


@dataclass
class Checked:
    """What a run says of itself, as far as it can be read, and what is wrong with it."""

    task: Task
    files: list[Finding] = field(default_factory=list)  # each by itself
    contradictions: list[Finding] = field(default_factory=list)  # between files
    params: dict[str, Any] | None = None
    records: list[Record] | None = None


def check_runs(zoo: Path, architecture: Architecture, tasks: Sequence[Task]) -> list[Checked]:
    """For a worker process."""
    runs, weights, reader = Runs(zoo), Weights(zoo), StateReader(architecture)
    return [Check(zoo, task, runs, weights, reader).done() for task in tasks]


class Check:
    """One run, file by file: none is read twice."""

    def __init__(self, zoo: Path, task: Task, runs: Runs, weights: Weights, reader: StateReader):
        self.task, self.runs, self.weights, self.reader = task, runs, weights, reader
        self.zoo, self.run = zoo, runs.folder(task.node)
        self.is_compact = self.run.parent == paths.runs_archive(zoo)
        # what is in one file is known by that file's checksum
        self.beside = (self.run.parent.name,) if self.is_compact else ()
        self.result = self.in_zoo(paths.result(self.run))
        self.left = dict(task.there)  # what was not looked at yet
        self.checked = Checked(task)

    def in_zoo(self, path: Path) -> str:
        return str(path.relative_to(self.zoo))

    def done(self) -> Checked:
        self.read_params()
        if (records := self.read_records()) is not None:
            finite = self.check_states(records)
            self.check_optimizer(records[-1])
            self.checked.records = [
                {key: record[key] for key in LOOKED_AT}
                | {"diverged": record["diverged"] or not finite.get(epoch, True)}
                for epoch, record in enumerate(records)
            ]
        self.check_others(records)
        return self.checked

    def content(self, path: Path, digest: str | None = None) -> bytes | None:
        """Of a file of the run; None if it is missing, or not what it should be. `digest`: what its record says."""
        name = str(path.relative_to(self.run))
        if name not in self.left:
            return None
        expected = self.left.pop(name)
        try:
            # that it is a file of the zoo is known where it lies in a folder
            content = (
                self.runs.content(self.task.node, lambda run: run / name) if self.is_compact else path.read_bytes()
            )
        except (ZooError, OSError) as error:
            self.find(path, f"can't be read ({error})")
            return None
        found = hashlib.sha256(content).hexdigest()
        if expected in (None, found) and digest in (None, found):
            return content
        if expected in (None, found):
            text = f"has a record of {name} with another sha256 than the file has"
            self.checked.contradictions.append(Finding(self.result, text, self.beside))
        elif digest == found:
            text = f"says another sha256 of {self.in_zoo(path)} than the file and its record have"
            self.checked.files.append(Finding(SUMS, text))
        else:
            self.find(path, CHANGED)
        return None

    def find(self, path: Path, text: str) -> None:
        """Something is wrong with a file by itself."""
        self.checked.files.append(Finding(self.in_zoo(path), text, self.beside))

    def read_params(self) -> None:
        path = paths.params(self.run)
        if (content := self.content(path)) is None:
            return
        try:
            params = json.loads(content)
            if not isinstance(params["config"].get("model", {}), dict) or params["node"] != self.task.node:
                raise ValueError(f"it is of {params['node']!r}")
            self.checked.params = params
        except DAMAGED as error:
            self.find(path, f"has no parameters of {self.task.node} ({error!r})")

    def read_records(self) -> list[Record] | None:
        path = paths.result(self.run)
        if (content := self.content(path)) is None:
            return None
        found: list[Record] = []
        for epoch, line in enumerate(content.splitlines()):
            try:
                found.append(parsed(line, epoch))
            except DAMAGED as error:
                self.find(path, f"has a line {epoch + 1} that is no record of epoch {epoch} ({error!r})")
                return None
        if len(found) != self.task.last_epoch + 1:
            text = f"has {len(found)} records, but in {TABLE} the last epoch is {self.task.last_epoch}"
            self.checked.contradictions.append(Finding(self.result, text, (TABLE,)))
            return None
        return found

    def check_states(self, records: Sequence[Record]) -> dict[int, bool]:
        """Compare every state with the weights; returns which are finite, by epoch, of those that could be read."""
        finite: dict[int, bool] = {}
        for epoch, record in enumerate(records):
            path = paths.checkpoint(self.run, epoch)
            if record.get(KEPT) is False:
                self.require_none(epoch)
                continue
            if self.is_compact and str(path.relative_to(self.run)) not in self.left:
                self.make_again(record)
                continue
            if (content := self.content(path, record.get(STATE_DIGEST))) is None:
                continue
            try:
                vector = self.reader.vector(path, content, begins=not finite)
            except DAMAGED as error:
                self.find(path, f"holds no state of the zoo's architecture ({error})")
                continue
            finite[epoch] = bool(np.isfinite(vector).all())
            own = self.weights.state(self.task.model, epoch).numpy()
            if (vector.view(np.uint32) != own.view(np.uint32)).any():
                self.contradict_weights(f"has other numbers for epoch {epoch} of model {self.task.model}", path)
        if finite and self.reader.variant != self.task.variant:
            text = (
                f"says that the variant of {self.task.node} is {self.task.variant}, by its states {self.reader.variant}"
            )
            self.checked.contradictions.append(Finding(TABLE, text))
        for epoch in range(len(records), self.weights.shape[1]):
            self.require_none(epoch)
        return finite

    def require_none(self, epoch: int) -> None:
        """The weights of a state that there is not are NaN."""
        if not self.weights.state(self.task.model, epoch).isnan().all():
            text = f"has numbers for epoch {epoch} of model {self.task.model}, which has no state there"
            self.contradict_weights(text, paths.result(self.run))

    def make_again(self, record: Record) -> None:
        """A checkpoint that a compact zoo leaves out, from the weights; some who trained elsewhere left none."""
        if STATE_DIGEST not in record and not self.runs.has_checkpoint(self.task.node, record):
            return
        try:
            self.runs.checkpoint(self.task.node, record)
        except ZooError:
            path = paths.checkpoint(self.run, record["training_iteration"])
            text = "has other numbers than those whose sha256 the record has of epoch"
            self.contradict_weights(f"{text} {record['training_iteration']} of model {self.task.model}", path)

    def contradict_weights(self, text: str, path: Path) -> None:
        finding = Finding(
            self.weights.file_of(self.task.model), f"{text} ({self.in_zoo(path)})", (self.in_zoo(path), *self.beside)
        )
        self.checked.contradictions.append(finding)

    def check_optimizer(self, last: Record) -> None:
        self.content(paths.optimizer(self.run, last["training_iteration"]), last.get(OPTIMIZER_DIGEST))

    def check_others(self, records: Sequence[Record] | None) -> None:
        """What is left: no state is, unless the records can't be read."""
        for name in list(self.left):
            if self.content(self.run / name) is not None and records is not None and "/" in name:
                text = f"is of no epoch of {self.result}, or of one whose optimizer state is not kept"
                self.checked.contradictions.append(Finding(self.in_zoo(self.run / name), text))

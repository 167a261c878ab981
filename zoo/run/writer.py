"""A thread that writes the files of an epoch while the next one is trained."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from zoo.disk import files, paths
from zoo.format.record import OPTIMIZER_DIGEST, STATE_DIGEST, Record
from zoo.run.pack import State
from zoo.run.resumption import keep_latest_optimizer


@dataclass(frozen=True)
class Epoch:
    """What a model's epoch leaves on disk. `record`: without the digests of the two states' files."""

    run: Path
    state: State
    training_state: Mapping[str, Any]
    record: Record
    config: Mapping[str, Any]  # the last value of the record
    is_last: bool  # whether the run is finished then

    @property
    def number(self) -> int:
        return self.record["training_iteration"]


class Writer:
    """Writes what it is given, in that order, in a thread, and is at most one epoch behind.

    What goes wrong there is raised by the next call, or at the end. Leaving waits until all is written.
    """

    def __enter__(self) -> Self:
        self.thread = ThreadPoolExecutor(1, "writer")
        self.pending: Future[None] | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.wait()
        finally:
            self.thread.shutdown()

    def write(self, epochs: Sequence[Epoch]) -> None:
        """Have an epoch of a pack's models written, once the one before is."""
        self.wait()
        self.pending = self.thread.submit(write, epochs)

    def wait(self) -> None:
        pending, self.pending = self.pending, None
        if pending:
            pending.result()


def write(epochs: Sequence[Epoch]) -> None:
    """Write the states of an epoch's models, then their records, each for all of them at once.

    A record (a line of result.json) comes after its states: an epoch that has one is complete, whatever happens later.
    It has the digests of the epoch's files, so that damage is seen. The optimizer states of the last two epochs are
    kept until the end, so that all models of the pack can go on from one epoch, also if the last one's files were torn
    by a power cut.
    """
    states = {paths.checkpoint(epoch.run, epoch.number): files.torch_bytes(epoch.state) for epoch in epochs}
    optimizers = {paths.optimizer(epoch.run, epoch.number): files.torch_bytes(epoch.training_state) for epoch in epochs}
    files.write_all({**states, **optimizers})
    digests = zip(map(files.sha256, states.values()), map(files.sha256, optimizers.values()), strict=True)
    files.append_all(
        {
            paths.result(epoch.run): line(epoch, {STATE_DIGEST: state, OPTIMIZER_DIGEST: optimizer})
            for epoch, (state, optimizer) in zip(epochs, digests, strict=True)
        }
    )
    for epoch in epochs:
        remove_older_optimizer(epoch)


def line(epoch: Epoch, digests: Mapping[str, str]) -> str:
    return json.dumps({**epoch.record, **digests, "config": epoch.config}) + "\n"


def remove_older_optimizer(epoch: Epoch) -> None:
    if epoch.is_last:
        keep_latest_optimizer(epoch.run)
    elif epoch.number > 1:
        paths.optimizer(epoch.run, epoch.number - 2).unlink(missing_ok=True)

"""The runs of a zoo: what was trained, read back model by model."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.disk import files, paths
from zoo.format.reading import is_plain_name, json_object, reading
from zoo.format.record import OPTIMIZER_DIGEST, STATE_DIGEST, Record, read_records, state_in

if TYPE_CHECKING:
    from torch import Tensor

Place = Callable[[Path], Path]  # where a run has a file: `zoo.disk.paths.params`, for one


class Runs:
    """Those in a zoo's folder of runs. Whatever is damaged, missing or elsewhere is a ZooError that names the file."""

    def __init__(self, zoo: Path):
        self.folder = paths.runs(zoo)

    def run(self, node: str) -> Path:
        """The run's folder."""
        if not is_plain_name(node):
            raise ValueError(f"{node!r} is no name of a node")
        return self.folder / node

    def has(self, node: str, place: Place) -> bool:
        return place(self.run(node)).exists()

    def content(self, node: str, place: Place, digest: str | None = None) -> bytes:
        """A file of the run. Raises ZooError if there is none, or its sha256 is not `digest`."""
        path = place(self.run(node))
        with reading(path):
            files.require_within(path, self.folder)
            content = path.read_bytes()
            if digest and files.sha256(content) != digest:
                raise ValueError(f"its sha256 is not the one in {paths.result(self.run(node)).name}")
        return content

    def params(self, node: str) -> dict[str, Any]:
        """The node's exact hyperparameters: params.json."""
        return json_object(paths.params(self.run(node)))

    def records(self, node: str) -> list[Record]:
        """The node's records, one per epoch from 0."""
        path = paths.result(self.run(node))
        with reading(path):
            return read_records(self.run(node))

    def checkpoint(self, node: str, record: Record) -> bytes:
        """The file of the state that a record belongs to."""
        epoch = record["training_iteration"]
        return self.content(node, lambda run: paths.checkpoint(run, epoch), record.get(STATE_DIGEST))

    def state(self, node: str, record: Record) -> "dict[str, Tensor]":
        """The state dict that a record belongs to."""
        path = paths.checkpoint(self.run(node), record["training_iteration"])
        return state_in(path, self.checkpoint(node, record))

    def optimizer(self, node: str, record: Record) -> bytes | None:
        """The file of the optimizer state that a record belongs to; None where there is none, as before the last."""
        epoch = record["training_iteration"]
        if not self.has(node, lambda run: paths.optimizer(run, epoch)):
            return None
        return self.content(node, lambda run: paths.optimizer(run, epoch), record.get(OPTIMIZER_DIGEST))

"""A zoo from whose states training starts. It is opened here alone, whatever else a zoo may be one day."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.reading import damaged
from zoo.format.record import unpickled
from zoo.format.runs import Runs
from zoo.format.weights import Weights
from zoo.node.steps import batches_per_epoch

OPENED = 16  # zoos that stay open


class ParentZoo:
    """Models by their ids, which are their rows in models.csv. Opening one reads no weights."""

    def __init__(self, path: Path):
        """Raises ZooError for a folder that is no zoo, and for a damaged file."""
        if not (paths.models(path).exists() and paths.config(path).exists()):
            raise ZooError(
                f"init.zoo={path} is no zoo here: give a zoo's folder, which workers on other machines must find under "
                "the same path"
            )
        self.path = path
        self.architecture = Architecture.load(paths.architecture(path))
        self.weights = Weights(path)
        models = tables.read_models(paths.models(path), len(self.architecture.variants))
        if (self.weights.shape[0], self.weights.shape[2]) != (len(models), self.architecture.length):
            raise damaged(paths.models(path), f"its {len(models)} models are not those of the weights")
        self.nodes: list[str] = models["node"].tolist()
        self.last_epochs: list[int] = models["last_epoch"].tolist()
        self.ids = {node: id for id, node in enumerate(self.nodes)}
        self.runs = Runs(path)

    def id_of(self, model: int | str) -> int:
        """Of a model given by its id or its node. Raises ZooError if there is none."""
        found = self.ids.get(model) if isinstance(model, str) else model
        if type(found) is not int or not 0 <= found < len(self.nodes):
            raise ZooError(
                f"init.model={model}: {self.path} has no such model. Give a node of {paths.models(self.path).name}, or "
                f"an id from 0 to {len(self.nodes) - 1}; with -m also several, or * for all"
            )
        return found

    def state(self, id: int, epoch: int) -> Tensor:
        """float32 [parameters], memory-mapped. Raises ZooError if there is no such state, or a number isn't finite."""
        last = self.last_epochs[id]
        if type(epoch) is not int or not 0 <= epoch <= min(last, self.weights.shape[1] - 1):
            raise ZooError(f"init.epoch={epoch}: {self.nodes[id]} in {self.path} has the epochs 0 to {last}")
        vector = self.weights.state(id, epoch)
        if not vector.isfinite().all():
            raise ZooError(
                f"init.epoch={epoch}: {self.nodes[id]} in {self.path} has weights that are not finite there, or none: "
                "choose another epoch"
            )
        return vector

    def params(self, id: int) -> dict[str, Any]:
        """The model's params.json."""
        return self.runs.params(self.nodes[id])

    def optimizer(self, id: int, epoch: int) -> bytes | None:
        """The file of its optimizer state; None where none is kept."""
        node = self.nodes[id]
        if not self.runs.has(node, lambda run: paths.optimizer(run, epoch)):
            return None
        return self.runs.optimizer(node, self.runs.records(node)[epoch])

    def optimizer_state(self, id: int, epoch: int, digest: str) -> dict[int, Any]:
        """What PyTorch's optimizer keeps of each parameter. Raises ZooError if its file has not this sha256."""
        path, found = paths.optimizer(Path(self.nodes[id]), epoch), self.optimizer(id, epoch)
        if found is None or files.sha256(found) != digest:
            raise ZooError(f"init.zoo={self.path}: {path} is not what it was when the command began")
        try:
            state: dict[int, Any] = unpickled(self.path / path, found)["optimizer"]["state"]
        except (KeyError, TypeError) as error:
            raise damaged(self.path / path, f"no state of an optimizer: {error!r}") from error
        return state

    def steps_per_epoch(self, id: int) -> int:
        """How many steps the optimizer made in an epoch of the model's training."""
        params = self.params(id)
        try:
            config = params["config"]
            limit = config["trainer"].get("limit_train_batches")
            return batches_per_epoch(config["data"]["train"], config["batch_size"], limit)
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise damaged(paths.params(self.path / self.nodes[id]), error) from error

    @property
    def checksums(self) -> str | None:
        """The sha256 of its SHA256SUMS, if it has one."""
        path = paths.checksums(self.path)
        return files.sha256(path.read_bytes()) if path.exists() else None


def opened(path: Path) -> ParentZoo:
    """The zoo, opened once; anew when it was replaced."""
    table = paths.models(path)
    stamp = (table.stat().st_ino, table.stat().st_mtime_ns) if os.path.lexists(table) else None
    return opened_as_of(path, stamp)


@lru_cache(OPENED)
def opened_as_of(path: Path, stamp: tuple[int, int] | None) -> ParentZoo:
    return ParentZoo(path)

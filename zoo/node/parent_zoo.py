"""A zoo from whose states training starts: one of ours, or one that was made elsewhere, however it lies on disk.

This is the one module of those that make zoos which opens some: what it knows of one is what a dataset stands on.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.dataset.folder import ZooSource
from zoo.dataset.opening import open_source
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.foreign.states import unpickled
from zoo.format.architecture import Architecture
from zoo.format.reading import damaged
from zoo.node.steps import batches_per_epoch

OPENED = 16  # zoos that stay open
SHOWN = 10  # epochs that an error names

STEP = "step"  # what PyTorch's optimizers count their steps in, beside each parameter
ALIKE = (
    "lr",
    "weight_decay",
    "params",
    "initial_lr",
    "fused",
    "foreach",
)  # settings that may be others, or don't matter


class ParentZoo:
    """Models by their ids, which are their rows in models.csv. Opening one reads no weights."""

    def __init__(self, path: Path):
        """Raises ZooError for what is no zoo, and for a damaged file."""
        if not path.exists():
            raise ZooError(
                f"init.zoo={path} is no zoo here: give a zoo, or models made elsewhere, which workers on other "
                "machines must find under the same path"
            )
        self.path = path
        self.source = open_source(path)
        self.nodes: list[str] = self.source.models["node"].tolist()
        self.last_epochs: list[int] = self.source.models["last_epoch"].tolist()
        self.ids = {node: id for id, node in enumerate(self.nodes)}

    @property
    def architecture(self) -> Architecture:
        return self.source.architecture

    def id_of(self, model: int | str) -> int:
        """Of a model given by its id or its node. Raises ZooError if there is none."""
        found = self.ids.get(model) if isinstance(model, str) else model
        if type(found) is not int or not 0 <= found < len(self.nodes):
            raise ZooError(
                f"init.model={model}: {self.path} has no such model. Give a node, such as {self.nodes[0]}, or an id "
                f"from 0 to {len(self.nodes) - 1}; with -m also several, or * for all"
            )
        return found

    def state(self, id: int, epoch: int) -> Tensor:
        """float32 [parameters], memory-mapped if it can be. Raises ZooError if there is none, or it isn't finite."""
        last = self.last_epochs[id]
        if type(epoch) is not int or not 0 <= epoch <= min(last, self.source.weights.shape[1] - 1):
            raise ZooError(f"init.epoch={epoch}: {self.nodes[id]} in {self.path} has the epochs 0 to {last}")
        vector = self.source.weights.state(id, epoch)
        if not vector.isfinite().all():
            raise ZooError(f"init.epoch={epoch}: {self.nodes[id]} in {self.path} {self.fault(id, epoch)}")
        return vector

    def fault(self, id: int, epoch: int) -> str:
        """Why training can't start from a state that isn't finite."""
        states = self.source.states
        kept = sorted(states.loc[states["id"] == id, "epoch"].tolist())
        if epoch in kept:
            return "has weights that are not finite there: choose another epoch"
        return f"has no state there, but at the epochs {', '.join(map(str, kept[:SHOWN]))}{', …' * (len(kept) > SHOWN)}"

    def params(self, id: int) -> dict[str, Any]:
        """The model's params.json; of a zoo made elsewhere also what it says by the names one types."""
        return self.source.params(id)

    def optimizer(self, id: int, epoch: int) -> bytes | None:
        """The file of its optimizer state; None where none is kept."""
        return self.source.optimizer(id, epoch)

    def optimizer_state(self, id: int, epoch: int, digest: str) -> dict[int, dict[str, Tensor]]:
        """What PyTorch's optimizer keeps of each parameter. Raises ZooError if its file has not this sha256."""
        found = self.optimizer(id, epoch)
        if found is None or files.sha256(found) != digest:
            path = paths.optimizer(Path(self.nodes[id]), epoch)
            raise ZooError(f"init.zoo={self.path}: {path} is not what it was when the command began")
        return self.saved_optimizer(id, epoch).state(self.parameter_shapes)

    def saved_optimizer(self, id: int, epoch: int) -> "SavedOptimizer":
        """Raises ZooError if none is kept there, or its file is damaged."""
        path, found = paths.optimizer(self.path / self.nodes[id], epoch), self.optimizer(id, epoch)
        if found is None:
            raise damaged(path, "it is missing")
        return SavedOptimizer(path, found)

    @property
    def optimizers(self) -> str:
        """Of which states it keeps the optimizer's, to be read in a notice where it has none."""
        return "one at each model's last epoch, at most" if isinstance(self.source, ZooSource) else "none there"

    def is_trained_here(self, id: int) -> bool:
        """Whether its params.json has the whole config of a training of this project."""
        return "optim" in self.params(id)["config"]

    @cached_property
    def parameter_shapes(self) -> list[list[int]]:
        return [entry.shape for entry in self.architecture.tensors if entry.kind == "parameter"]

    def steps_per_epoch(self, id: int) -> int:
        """How many steps the optimizer made in an epoch of the model's training."""
        params = self.params(id)
        try:
            config = params["config"]
            limit = config["trainer"].get("limit_train_batches")
            return batches_per_epoch(config["data"]["train"], config["batch_size"], limit)
        except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
            raise damaged(paths.params(self.path / self.nodes[id]), error) from error

    @cached_property
    def checksums(self) -> str | None:
        """The sha256 of its SHA256SUMS, if it has one."""
        source = self.source
        if not isinstance(source, ZooSource) or not source.has(path := paths.checksums(source.root)):
            return None
        return source.digest(path)


class SavedOptimizer:
    """What the file of an optimizer holds: as PyTorch's optimizers save theirs, or beside what resumption needs."""

    def __init__(self, path: Path, content: bytes):
        """Raises ZooError if the file, `content`, holds anything else."""
        self.path = path
        found = unpickled(path, content)
        try:
            saved = found.get("optimizer", found)
            self.states: Mapping[int, Mapping[str, Any]] = dict(saved["state"])
            self.groups: Sequence[Mapping[str, Any]] = [dict(group) for group in saved["param_groups"]]
        except Exception as error:  # it may hold anything
            raise damaged(path, f"no state of an optimizer: {error!r}") from error

    def state(self, shapes: Sequence[Sequence[int]]) -> dict[int, dict[str, Tensor]]:
        """What it keeps of parameters of these shapes, in their order; empty before the first step."""
        if self.states and self.states.keys() != set(range(len(shapes))):
            raise damaged(self.path, f"it is of {len(self.states)} parameters, not {len(shapes)}")
        try:
            return {number: kept(self.states[number], shapes[number]) for number in sorted(self.states)}
        except (ValueError, TypeError, AttributeError) as error:
            raise damaged(self.path, f"no state of an optimizer: {error!r}") from error

    @property
    def steps(self) -> int:
        """How many it made, if it counts them; else 0."""
        try:
            return int(self.states[0].get(STEP, 0)) if self.states else 0
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
            raise damaged(self.path, f"no state of an optimizer: {error!r}") from error

    def is_of(self, optim: Mapping[str, Any]) -> bool:
        """Whether its settings are those of an optimizer as conf/optim has it, as far as both say them."""
        group = self.groups[0] if self.groups else {}
        both = [key for key in optim if key in group and key not in ALIKE]
        return all(plain(group[key]) == plain(optim[key]) for key in both)


def kept(state: Mapping[str, Any], shape: Sequence[int]) -> dict[str, Tensor]:
    """Of one parameter: a tensor like it for each average, and the number of steps. Raises ValueError for others."""
    found = {}
    for name, value in state.items():
        if value is None:  # an average that isn't used
            continue
        tensor = torch.tensor(float(value)) if name == STEP else value
        if not isinstance(tensor, Tensor) or (name != STEP and list(tensor.shape) != list(shape)):
            raise ValueError(f"{name!r} is not like its parameter, {list(shape)}")
        found[str(name)] = tensor
    return found


def plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def opened(path: Path) -> ParentZoo:
    """The zoo, opened once; anew when it was replaced."""
    table = paths.models(path)
    file = table if table.exists() else path
    stamp = (file.stat().st_ino, file.stat().st_mtime_ns) if file.exists() else None
    return opened_as_of(path, stamp)


@lru_cache(OPENED)
def opened_as_of(path: Path, stamp: tuple[int, int] | None) -> ParentZoo:
    return ParentZoo(path)

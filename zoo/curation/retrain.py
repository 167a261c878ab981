"""Models of a zoo trained again from their params.json: do the same states come of it?"""

import functools
import itertools
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count
from omegaconf import OmegaConf
from torch import Tensor
from tqdm import tqdm

from zoo.curation.findings import Finding
from zoo.curation.known import require_known
from zoo.curation.open_zoo import OpenZoo
from zoo.curation.runs import Checked
from zoo.dataset.folder import is_zoo
from zoo.disk import files, paths
from zoo.errors import ZooError, one_line
from zoo.foreign.released import was_trained_here
from zoo.format.reading import is_plain_name
from zoo.format.record import read_records, read_state
from zoo.format.runs import Place
from zoo.format.train_metrics import EXACT
from zoo.installation import CONF
from zoo.launch.packing import pack
from zoo.node.from_zoo import is_from_zoo, parent_optimizer, parent_state
from zoo.node.node import Node
from zoo.processes import mapping
from zoo.run.run import train
from zoo.run.trainer_options import MATERIAL

# By which the bits of a trained model are decided, as environment.json has them; through PyTorch by the processor, too.
DECISIVE = ("engine", "variant", "device", "threads", "torch", "numpy", "model-zoos")

# How far a state may be from the recorded one where rounding is another: as a share of the way from the initialisation.
# After the first epoch, small differences have grown by as much as training lets them, and are only said.
FIRST_EPOCH = 0.05
INITIAL = 1e-5  # of initial weights, relative


@dataclass(frozen=True)
class Again:
    """A run that is to be trained again, and by what it was trained."""

    run: Checked
    node: Node
    environments: Sequence[Mapping[str, Any]]  # environment.json
    folder: Path  # in the zoo

    def name(self, place: Place) -> str:
        """Of a file of the run, in the zoo."""
        return str(place(self.folder).relative_to(self.folder.parents[1]))

    @property
    def threads(self) -> int:
        return max((int(entry.get("threads") or 1) for entry in self.environments), default=1)

    @cached_property
    def shortened(self) -> Node:
        """The same model, trained no longer than there are records of. Its folder's name may depend on that."""
        trainer = {**self.node.config["trainer"], "max_epochs": max(1, self.run.task.last_epoch)}
        values = {**self.node.values, "trainer": {**self.node.values["trainer"], "max_epochs": trainer["max_epochs"]}}
        return with_values(Node({**self.node.config, "trainer": trainer}), values)


@dataclass(frozen=True)
class Outcome:
    """What came of it: a finding, or else how near the states are; `bits` where they had to be the same bit for bit."""

    node: str
    bits: bool
    distance: float  # of the last state, as a share of the way from the initialisation
    finding: Finding | None = None
    reason: str | None = None  # why it was not trained again, if it was not


class ParentMissing(ZooError):
    """The zoo from a state of which training went on is not there."""


def retrain(zoo: OpenZoo, runs: Sequence[Checked]) -> list[Outcome]:
    """Train the runs again in a temporary sweep, up to their last epochs, on the images of the zoo.

    A model whose training went on from a state of another zoo is trained where that zoo lies beside this one.

    Raises ZooError, which names the file, if a params.json asks for anything that this package and PyTorch don't have.
    """
    if zoo.is_converted and not any(was_trained_here(run.params or {}) for run in runs):
        raise ZooError(f"{zoo.path} has models that were trained elsewhere: they can't be trained again here")
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder) / "again"
        sweep.mkdir()
        if paths.old_nodes(zoo.path).exists():  # the mark of version 0.1.0, which named its nodes by other rules
            files.write_text(paths.old_nodes(sweep), "\n".join(run.task.node for run in runs) + "\n")
        again, outcomes = [], []
        for run in runs:
            try:
                again.append(to_train(zoo, run, sweep))
            except ParentMissing as error:
                outcomes.append(Outcome(run.task.node, False, 0.0, reason=str(error)))
        outcomes += [Outcome(each.run.task.node, True, 0.0, finding) for each in again if (finding := misnamed(each))]
        wrong = {outcome.node for outcome in outcomes}
        again = [each for each in again if each.run.task.node not in wrong]
        zoo.images()  # checked
        train_all(again, paths.images(zoo.path).absolute())
        return [*outcomes, *(outcome(zoo, each) for each in tqdm(again, "comparing", unit="model"))]


def to_train(zoo: OpenZoo, run: Checked, sweep: Path) -> Again:
    """The node of a run's params.json, to be trained in another sweep."""
    path = paths.params(zoo.runs.folder(run.task.node))
    values = (run.params or {})["config"]
    if groups := set(values.get("sources", ())) - {"data"}:  # the images are in the zoo
        raise ZooError(
            f"{path} says that its {', '.join(sorted(groups))} came from a file of the user's own, not run: only "
            "what is of PyTorch and this package can be trained again"
        )
    require_known(path, values)
    if is_from_zoo(values):
        values = with_parent_beside(zoo, run, values)
    environments = read_environments(zoo, run.task.node)
    try:
        node = with_values(node_of(values, sweep, environments), (run.params or {})["config"])
        _ = node.name, node.released, node.max_epochs  # whatever is wrong is seen here
        return Again(run, node, environments, zoo.runs.folder(run.task.node))
    except ZooError:
        raise
    except Exception as error:  # the values are anyone's
        raise ZooError(
            f"{path} is not of a training of this project ({one_line(error)}): it can't be repeated"
        ) from error


def with_parent_beside(zoo: OpenZoo, run: Checked, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the folder of the zoo that training went on from: no params.json leads to any other folder than
    those beside the zoo's own. Raises ParentMissing if it is not there, or has not that state."""
    parent = (run.params or {}).get("parent")
    name = parent.get("zoo") if isinstance(parent, Mapping) else None
    if not is_plain_name(name):
        raise ParentMissing("its params.json does not say from a state of which zoo its training went on")
    folder = zoo.path.resolve().parent / str(name)
    found = {**values, "init": {**values["init"], "zoo": str(folder)}}
    if not is_zoo(os.path.exists, folder):
        raise ParentMissing(f"its training went on from the zoo {name}, which is not in {folder.parent}")
    try:
        parent_state(found)
        parent_optimizer(found)
    except (ZooError, KeyError, TypeError) as error:
        raise ParentMissing(f"{folder} is not the zoo from which its training went on ({one_line(error)})") from error
    return found


def node_of(values: Mapping[str, Any], sweep: Path, environments: Sequence[Mapping[str, Any]]) -> Node:
    """The node, with what its values leave out because it does not matter: where and how to train."""
    base: Any = OmegaConf.to_container(OmegaConf.load(CONF / "train.yaml"))
    trainer: Any = OmegaConf.to_container(OmegaConf.load(CONF / "trainer" / "default.yaml"))
    options = {key: values["trainer"][key] for key in ("max_epochs", *MATERIAL) if key in values["trainer"]}
    if unknown := set(values["trainer"]) - set(options):
        raise ZooError(f"trainer.{min(unknown)} is unknown: another version trained these models")
    engines = {entry.get("engine") for entry in environments}
    place = {"sweeps": str(sweep.parent), "zoo": {"name": sweep.name}}
    how = {"engine": "torch" if engines == {"torch"} else "auto", "stop_diverged": True, "dry_run": False}
    implied = {"train_metrics": EXACT}  # of before there was a choice
    return Node(
        {**implied, **values, **place, **how, "immaterial": base["immaterial"], "trainer": {**trainer, **options}}
    )


def with_values(node: Node, values: Mapping[str, Any]) -> Node:
    """The node, named by the values that were recorded: digests of the user's code are not looked for here."""
    vars(node)["values"] = dict(values)
    return node


def read_environments(zoo: OpenZoo, node: str) -> list[dict[str, Any]]:
    """Empty where it is not known, as in zoos of version 0.1.0."""
    if not zoo.runs.has(node, paths.environment):
        return []
    try:
        found = json.loads(zoo.runs.content(node, paths.environment))
    except ValueError:
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def misnamed(again: Again) -> Finding | None:
    """A node's name has a digest of its values."""
    node, name = again.run.task.node, again.node.name
    if node == name:
        return None
    text = f"has values of another node, {name}"
    return Finding(again.name(paths.params), text)


def train_all(again: Sequence[Again], images: Path) -> None:
    """Train all of them, in packs of those that were trained by as many threads."""
    tasks = []
    for threads, group in itertools.groupby(sorted(again, key=lambda each: each.threads), lambda each: each.threads):
        tasks += [(nodes, threads) for nodes in pack([each.shortened for each in group], cpu_count())]
    with mapping(functools.partial(train_task, images), min(cpu_count(), len(tasks))) as done:
        for _ in tqdm(done(tasks), "training again", total=len(tasks), unit="pack"):
            pass


def train_task(images: Path, task: tuple[list[Node], int]) -> None:
    """For a worker process."""
    nodes, threads = task
    train(nodes, images, threads=threads)


def outcome(zoo: OpenZoo, again: Again) -> Outcome:
    """The states of a run beside those of the zoo."""
    run, folder = again.run, again.shortened.run
    now = json.loads(paths.environment(folder).read_text())
    bits = bool(again.environments) and all(is_same(entry, now[-1]) for entry in again.environments)
    own = [zoo.weights.state(run.task.model, epoch) for epoch in range(run.task.last_epoch + 1)]
    new = list(states_of(zoo, folder, len(own)))
    compare = first_other_bits if bits else first_too_far
    epoch = compare(own, new) if len(new) == len(own) else len(new)
    last = min(len(own), len(new)) - 1
    distance = share_of_way(new[last], own[last], own[0])
    finding = (
        None
        if epoch is None
        else Finding(
            again.name(lambda run: paths.checkpoint(run, epoch)),
            f"is not what training it again gives, {'bit for bit' if bits else 'but for rounding'}",
        )
    )
    return Outcome(run.task.node, bits, distance, finding)


def is_same(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the same bits are to be expected."""
    keys = DECISIVE if recorded.get("engine") == "lanes" else (*DECISIVE, "processor")
    return all(recorded.get(key) == now.get(key) for key in keys)


def states_of(zoo: OpenZoo, folder: Path, most: int) -> Iterator[Tensor]:
    for epoch, record in enumerate(read_records(folder)[:most]):
        state = read_state(folder, epoch, record)
        yield zoo.architecture.flatten(state, zoo.architecture.variant_of(state))


def first_other_bits(own: Sequence[Tensor], new: Sequence[Tensor]) -> int | None:
    pairs = enumerate(zip(own, new, strict=True))
    return next((epoch for epoch, (a, b) in pairs if (a.view(torch.int32) != b.view(torch.int32)).any()), None)


def first_too_far(own: Sequence[Tensor], new: Sequence[Tensor]) -> int | None:
    """The first epoch whose states differ by more than rounding can make of it."""
    if not torch.allclose(own[0], new[0], rtol=INITIAL, atol=INITIAL, equal_nan=True):
        return 0
    if len(own) > 1 and share_of_way(new[1], own[1], own[0]) > FIRST_EPOCH:
        return 1
    return None


def share_of_way(state: Tensor, other: Tensor, begin: Tensor) -> float:
    """How far two states are from each other, as a share of the way of the second from the initialisation.

    Numbers that are not finite count as if they were none.
    """
    finite = state.isfinite() & other.isfinite() & begin.isfinite()
    way = (other - begin)[finite].norm()
    return float((state - other)[finite].norm() / way) if way else 0.0


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many were trained again, and what was expected of them."""
    trained = [outcome for outcome in outcomes if not outcome.reason]
    same = sum(outcome.bits for outcome in trained)
    text = f"{len(trained)} models trained again, {same} of them compared bit for bit"
    if others := [outcome for outcome in trained if not outcome.bits]:
        farthest = max(outcome.distance for outcome in others)
        text += (
            f", {len(others)} within rounding, as this machine or these versions are others than trained them (last "
            f"states differ by up to {farthest:.2g} of the way from the initialisation)"
        )
    for outcome in outcomes:
        text += f"; {outcome.node} not retrained, because {outcome.reason}" if outcome.reason else ""
    return text

"""A zoo of a population that was made elsewhere."""

import functools
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count
from torch import Tensor
from tqdm import tqdm

from zoo.disk import files, paths
from zoo.disk.folders import require_new
from zoo.errors import ZooError, one_line
from zoo.foreign.known import CLASSES
from zoo.foreign.opening import open_populations
from zoo.foreign.population import UNKNOWN, Population, Record, is_hyperparameter
from zoo.format import tables
from zoo.format.compact import COMPACT, FOLDERS, leave_out
from zoo.format.model_source import model_source
from zoo.format.node_table import write_nodes
from zoo.format.record import SECONDS, STATE_DIGEST
from zoo.format.zoo_writer import Params, ZooWriter
from zoo.installation import command
from zoo.processes import mapping

UNKNOWN_DATA = "unknown"  # the name of the images, where nobody says it

# The work of which a process is given one part after another
STATES_A_TASK = 400
BYTES_A_TASK = 2**25
FEW_STATES = 15_000  # are converted before other processes have started


@dataclass(frozen=True)
class Job:
    """What a process needs to take models: it opens the population itself, once."""

    raw: Path
    kind: str | None
    name: str  # of the population, where there are several
    zoo: Path
    data: str
    files_of_runs: str

    @property
    def population(self) -> Population:
        return opened(self.raw, self.kind)[self.name]

    def params(self, model: int) -> Params:
        """What is written as params.json: `data` is what the user says."""
        return {"data": self.data, **self.population.params(model)}


@dataclass(frozen=True)
class Taken:
    """What the tables of a zoo say of a model that is in it."""

    variant: int
    records: list[Record]


@functools.lru_cache(maxsize=1)
def opened(raw: Path, kind: str | None) -> Mapping[str, Population]:
    return open_populations(raw, kind)


def convert(
    raw: Path, zoo: Path, kind: str | None = None, data: str = UNKNOWN_DATA, files_of_runs: str = FOLDERS
) -> dict[Path, dict[str, Any]]:
    """Make a zoo of what is in `raw`, or one for each architecture, in a folder; returns the summary of each.

    What is in `raw` is data, from anyone: nothing of it is executed, imported or instantiated, and it stays as it is.
    """
    from zoo.publication.make import make_zoo  # figures take seconds to import, and the processes draw none

    require_new(zoo, "ZOO")
    require_apart(raw, zoo)
    opened.cache_clear()  # what was there before may have changed
    made = {}
    for name in opened(raw, kind):
        target = zoo / name
        target.parent.mkdir(parents=True, exist_ok=True)
        made[target] = make_zoo(target, functools.partial(fill, raw, kind, name, data, files_of_runs))
    opened.cache_clear()
    return made


def require_apart(raw: Path, zoo: Path) -> None:
    if zoo.resolve().is_relative_to(raw.resolve()):
        raise ZooError(f"{zoo} lies in {raw}, which stays as it is: choose another folder")
    if paths.runs(raw.resolve().parent) == raw.resolve() and paths.models(raw.resolve().parent).exists():
        raise ZooError(f"{raw} has the runs of {raw.resolve().parent}, which is a zoo of this project already")
    if paths.nodes(raw).exists() or paths.old_nodes(raw).exists():
        raise ZooError(f"{raw} is a sweep or a zoo of this project: `{command('analyze')}` makes a zoo of a sweep")


def fill(raw: Path, kind: str | None, name: str, data: str, files_of_runs: str, zoo: Path) -> dict[str, str]:
    """Put a population into the empty folder `zoo`; returns why a model is missing, for each that is."""
    job = Job(raw, kind, name, zoo, data, files_of_runs)
    population = job.population
    missing = dict(population.missing)
    put_images(job)
    if population.choice:
        files.write_text(paths.model_source(job.zoo), model_source(CLASSES[population.choice["name"]]))
    measured = Measured()
    others = [tables.KEPT, *population.others]
    with ZooWriter(
        job.zoo, population.architecture, population.epochs - 1, population.factors, job.files_of_runs, others
    ) as writer:
        for model, found in take_all(job):
            node = population.nodes[model]
            reason = found if isinstance(found, str) else measured.difference(found, node)
            if reason or isinstance(found, str):
                missing[node] = str(reason)
                shutil.rmtree(paths.runs(job.zoo) / node, ignore_errors=True)
                continue
            writer.add(job.params(model), found.variant, found.records, vectors(job, node))
        if not writer.members:
            node, reason = next(iter(missing.items()))
            raise ZooError(f"{population.path} holds no model that can be in a zoo ({node}: {reason}): get it anew")
        write_config(job, [member.params for member in writer.members])
    return missing


def vectors(job: Job, node: str) -> Tensor:
    """The states [epochs, parameters] that `take` wrote of a model, memory-mapped."""
    path = paths.vectors(paths.runs(job.zoo) / node)
    size = path.stat().st_size // 4
    mapped = torch.from_file(str(path), size=size).view(-1, job.population.architecture.length)
    path.unlink()  # what is mapped stays
    return mapped


class Measured:
    """Which accuracies the states of a zoo have: at an epoch, all have the same."""

    def __init__(self) -> None:
        self.known: dict[int, tuple[list[str], str]] = {}  # by epoch, and which model was the first with such a state

    def difference(self, found: Taken, node: str) -> str | None:
        """Why the model can't be in one zoo with those before; None if it can."""
        for epoch, record in enumerate(found.records):
            if record[tables.KEPT]:
                own = [key for key in tables.ACCURACIES if record[key] is not None]
                known, first = self.known.setdefault(epoch, (own, node))
                if known != own:
                    return f"at epoch {epoch}, it has other accuracies ({', '.join(own) or 'none'}) than {first}"
        return None


# --------------------------------------------------------------------------------------------------------- the models


def take_all(job: Job) -> Iterator[tuple[int, Taken | str]]:
    """Put all models into the zoo one after another: the number of each, and what was taken, or why not."""
    population = job.population
    states = [len(population.kept(model)) for model in range(len(population.nodes))]
    bytes_of_model = 4 * population.epochs * population.architecture.length
    size = max(1, min(STATES_A_TASK // population.epochs, BYTES_A_TASK // bytes_of_model))
    tasks = [range(first, min(first + size, len(states))) for first in range(0, len(states), size)]
    processes = min(cpu_count(), len(tasks)) if sum(states) > FEW_STATES else 1
    with (
        mapping(functools.partial(take_models, job), processes) as done,
        tqdm(total=sum(states), desc="converting", unit="state") as progress,
    ):
        for task, found in zip(tasks, done(tasks), strict=True):
            yield from zip(task, found, strict=True)
            progress.update(sum(states[model] for model in task))


def take_models(job: Job, models: range) -> list[Taken | str]:
    """Put these models' runs into the zoo, or say why one can't be in it."""
    return [take_or_say_why(job, model) for model in models]


def take_or_say_why(job: Job, model: int) -> Taken | str:
    try:
        return take(job, model)
    except ZooError as error:
        return one_line(error).replace(f"{job.raw}{os.sep}", "")


def take(job: Job, model: int) -> Taken:
    """Put a model's run and its states into a folder of the zoo. Raises ZooError for what is damaged."""
    population = job.population
    run = paths.runs(job.zoo) / population.nodes[model]
    run.mkdir(parents=True)
    history = population.history(model)
    kept = {epoch for epoch in population.kept(model) if epoch in history or not history}
    if not kept:
        raise ZooError("none of its states has a record")
    records = [history.get(epoch, UNKNOWN) | {tables.KEPT: epoch in kept} for epoch in range(max(kept) + 1)]
    records = [dict.fromkeys([*tables.LOSSES_AND_ACCURACIES, *population.others]) | record for record in records]
    states = np.full((len(records), population.architecture.length), np.nan, np.float32)
    digests = {}
    for epoch in sorted(kept):
        content = population.checkpoint(model, epoch)
        if content is None:
            states[epoch] = population.vector(model, epoch)
        else:
            states[epoch] = population.vector_in(model, epoch, content)
            digests[epoch] = files.sha256(content)
            put_checkpoint(content, population.file(model, epoch), str(paths.checkpoint(run, epoch)))
    finite = [bool(np.isfinite(state).all()) for state in states]
    for epoch in kept:
        records[epoch]["diverged"] |= not finite[epoch]
    params = job.params(model)
    write_plainly(paths.params(run), json.dumps(params, indent=2) + "\n")
    write_plainly(paths.result(run), "".join(lines(params, records, digests)))
    if job.files_of_runs == COMPACT:  # the writer would do it, too, but alone
        leave_out(run, population.architecture, population.variant(model), states)
    states.tofile(paths.vectors(run))
    return Taken(population.variant(model), records)


def put_checkpoint(content: bytes, file: str | None, target: str) -> None:
    """The file of a state: another name of the same file where the file system allows."""
    os.mkdir(os.path.dirname(target))
    if file and files.linked(file, target):
        return
    with open(target, "wb") as copy:
        copy.write(content)


def write_plainly(path: Path, text: str) -> None:
    """Into a folder that nobody sees before it is complete: nothing is flushed."""
    path.write_text(text, encoding="utf-8")


def lines(params: Params, records: list[Record], digests: Mapping[int, str]) -> Iterator[str]:
    """result.json. A line that has no state says so."""
    config = {key: value for key, value in params.items() if "::" in key or key == "seed"}
    for epoch, record in enumerate(records):
        line: Record = {**dict.fromkeys(SECONDS, 0.0), **record, "training_iteration": epoch}
        if line.pop(tables.KEPT) is False:
            line[tables.KEPT] = False
        if digest := digests.get(epoch):
            line[STATE_DIGEST] = digest
        yield json.dumps(line | {"config": config}) + "\n"


# -------------------------------------------------------------------------------------------------- what all have


def put_images(job: Job) -> None:
    """The images, where they can be read without executing code; a zoo can be without."""
    try:
        job.population.images().save(paths.images(job.zoo))
    except ZooError as error:
        print(one_line(error))


def write_config(job: Job, params: list[Params]) -> None:
    population = job.population
    same = {
        key: value
        for key, value in params[0].items()
        if is_hyperparameter(key) and key not in population.factors and all(node.get(key) == value for node in params)
    }
    known = {"model": population.architecture.model, **population.protocol(), **same, **sizes(job.zoo)}
    config = {
        "name": job.raw.stem,
        "models": len(params),
        "search_pattern": population.search_pattern,
        "protocol": known | {"trainer.max_epochs": population.epochs - 1},
        "commands": [],
        "converted": {"from": job.raw.name, "kind": population.kind, "about": population.about},
    }
    files.write_json(paths.config(job.zoo), config)
    known = {node["node"]: {key: node.get(key) for key in population.factors} for node in params}
    rows = {name: {key: value for key, value in row.items() if value is not None} for name, row in known.items()}
    write_nodes(job.zoo, rows, population.factors)


def sizes(zoo: Path) -> dict[str, Any]:
    """What the images say of themselves, if there are any."""
    if not paths.images(zoo).exists():
        return {}
    from zoo.data.images import Images

    images = Images.load(paths.images(zoo))
    shape = images.trainset.images.shape
    counts = {f"data.{name}": len(getattr(images, f"{name}set")) for name in ("train", "val", "test")}
    return counts | {"data.channels": shape[1], "data.size": shape[2], "data.classes": len(images.classes)}

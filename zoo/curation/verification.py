"""Everything in a zoo that contradicts its checksums, or the rest of it."""

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from zoo.collation.collate import MODELS_A_TASK, processes_for
from zoo.curation.archive import differences
from zoo.curation.findings import Finding, Findings
from zoo.curation.listing import changed, misplaced, own_files, read_sums
from zoo.curation.open_zoo import OpenZoo, require_zoo
from zoo.curation.runs import Checked, Task, check_runs
from zoo.curation.tables import contradictions
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.processes import mapping

# what the runs are looked at by
TABLES = (paths.config, paths.models, paths.metrics, paths.architecture)
OPENED = (*TABLES, paths.weights, paths.weights_index)


@dataclass(frozen=True)
class Verified:
    """What is wrong with a zoo, and what it holds: nothing where its tables are damaged."""

    findings: Findings
    files: int
    zoo: OpenZoo | None
    runs: Sequence[Checked]

    @property
    def sound(self) -> list[Checked]:
        """The runs with all their files, none of which has a finding."""
        return [
            run
            for run in self.runs
            if run.params is not None
            and run.records is not None
            and not any(name.startswith(folder_of(run.task.node)) for name in self.findings.damaged)
        ]


def verify(path: Path) -> Verified:
    """Read every file of a zoo, and of its zip file where that lies beside it. Raises ZooError if it is no zoo."""
    require_zoo(path)
    findings = Findings()
    there = dict(own_files(path))
    sums, damage = read_sums(path)
    findings.add(damage)
    findings.add(misplaced(there, there if damage else sums))
    names = [name for name, is_file in there.items() if is_file]
    findings.add(changed(path, sums, [name for name in names if not name.startswith(folder_of())]))
    zoo = opened(path, findings)
    tasks = tasks_of(zoo, names, sums) if zoo else []
    others = of_no_model(names, tasks)
    findings.add(changed(path, sums, others))
    runs = list(check_all(zoo, tasks)) if zoo else []
    findings.add(finding for run in runs for finding in run.files)
    findings.add(finding for run in runs for finding in run.contradictions)
    if zoo:
        findings.add(Finding(name, f"is of no model of {paths.models(Path()).name}") for name in others)
        findings.add(contradictions(zoo, runs))
    if not damage and (archive := paths.archive(path)).exists():
        findings.add(differences(archive, sums, paths.checksums(path).read_bytes()))
    return Verified(findings, len(names), zoo, runs)


def folder_of(node: str | None = None) -> str:
    """Where a run is in a zoo; without a node, where all are."""
    return f"{paths.runs(Path()).name}/" + (f"{node}/" if node is not None else "")


def opened(path: Path, findings: Findings) -> OpenZoo | None:
    """The zoo, if its tables are as they were and fit together; else that is a finding."""
    if not findings.are_sound(*(place(Path()).name for place in TABLES)):
        return None
    try:
        return OpenZoo.of(path)
    except ZooError as error:
        text = str(error).removeprefix(f"{path}{os.sep}")
        name = next((name for place in OPENED if text.startswith(name := place(Path()).name)), "the zoo")
        findings.add([Finding(name, text.removeprefix(name).strip())])
        return None


def tasks_of(zoo: OpenZoo, names: Iterable[str], sums: Mapping[str, str]) -> list[Task]:
    there: dict[str, dict[str, str | None]] = {node: {} for node in zoo.nodes}
    for name in names:
        folder, _, rest = name.partition("/")
        node, _, inner = rest.partition("/")
        if folder == paths.runs(Path()).name and inner and node in there:
            there[node][inner] = sums.get(name)
    columns = (zoo.models[key].tolist() for key in ("id", "node", "variant", "last_epoch"))
    return [Task(model, node, variant, last, there[node]) for model, node, variant, last in zip(*columns, strict=True)]


def of_no_model(names: Iterable[str], tasks: Iterable[Task]) -> list[str]:
    """What lies among the runs, but in none of those."""
    known = {folder_of(task.node) + name for task in tasks for name in task.there}
    return [name for name in names if name.startswith(folder_of()) and name not in known]


def check_all(zoo: OpenZoo, tasks: Sequence[Task]) -> Iterator[Checked]:
    """Every run, on all cores."""
    job = functools.partial(check_runs, zoo.path, zoo.architecture)
    states = sum(task.last_epoch + 1 for task in tasks)
    parts = [tasks[first : first + MODELS_A_TASK] for first in range(0, len(tasks), MODELS_A_TASK)]
    with mapping(job, processes_for(states, zoo.architecture.length)) as done:
        with tqdm(total=len(tasks), desc="verifying", unit="model") as progress:
            for found in done(parts):
                yield from found
                progress.update(len(found))

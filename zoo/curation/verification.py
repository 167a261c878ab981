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
from zoo.curation.listing import changed, empty_folders, misplaced, own_files, read_sums
from zoo.curation.open_zoo import OpenZoo, require_zoo
from zoo.curation.runs import Checked, Task, check_runs
from zoo.curation.tables import contradictions
from zoo.dataset.folder import is_zoo
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.runs import RunArchive
from zoo.processes import mapping

# what the runs are looked at by
TABLES = (paths.config, paths.models, paths.metrics, paths.architecture)
OPENED = (*TABLES, paths.weights, paths.weights_index, paths.runs_archive)
FOLDERS = (f"{paths.runs(Path()).name}/", f"{paths.runs_archive(Path()).name}/")  # where runs are, in names


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
        readable = [run for run in self.runs if run.params is not None and run.records is not None]
        wrong = {name.split("/")[1] for name in self.findings.damaged if name.startswith(FOLDERS) and "/" in name[:-1]}
        return [run for run in readable if run.task.node not in wrong]


def verify(path: Path) -> Verified:
    """Read every file of a zoo, and of its zip file where that lies beside it. Raises ZooError if it is no zoo."""
    if not paths.checksums(path).is_file():  # by which it is known that a zoo lacks its tables
        require_zoo(path)
    findings = Findings()
    there = dict(own_files(path))
    sums, damage = read_sums(path)
    findings.add(damage)
    findings.add(misplaced(there, there if damage else sums))
    findings.add(empty_folders(path))
    names = [name for name, is_file in there.items() if is_file]
    findings.add(changed(path, sums, [name for name in names if not name.startswith(FOLDERS[0])]))
    zoo = opened(path, findings)
    runs = check_runs_of(zoo, names, sums, findings) if zoo else []
    if zoo:
        findings.add(contradictions(zoo, runs))
    else:
        findings.add(changed(path, sums, [name for name in names if name.startswith(FOLDERS[0])]))
    if not damage and (archive := paths.archive(path)).exists():
        findings.add(differences(archive, sums, paths.checksums(path).read_bytes()))
    return Verified(findings, len(names), zoo, runs)


def check_runs_of(zoo: OpenZoo, names: Iterable[str], sums: Mapping[str, str], findings: Findings) -> list[Checked]:
    """The runs, read, with what is wrong with them and between them and the weights."""
    tasks, others = tasks_of(zoo, names_of_runs(zoo, names), sums)
    findings.add(changed(zoo.path, sums, others))
    runs = list(check_all(zoo, tasks))
    findings.add(finding for run in runs for finding in run.files)
    findings.add(finding for run in runs for finding in run.contradictions)
    findings.add(Finding(name, f"is of no model of {paths.models(Path()).name}") for name in others)
    return runs


def opened(path: Path, findings: Findings) -> OpenZoo | None:
    """The zoo, if its tables are as they were and fit together; else that is a finding."""
    if not is_zoo(os.path.exists, path) or not findings.are_sound(
        *(place(Path()).name for place in (*TABLES, paths.runs_archive))
    ):
        return None
    try:
        zoo = OpenZoo.of(path)
        zoo.runs  # noqa: B018  that of a compact zoo is a file
        return zoo
    except ZooError as error:
        text = str(error).removeprefix(f"{path}{os.sep}")
        name = next((name for place in OPENED if text.startswith(name := place(Path()).name)), "the zoo")
        findings.add([Finding(name, text.removeprefix(name).strip())])
        return None


def tasks_of(zoo: OpenZoo, names: Iterable[str], sums: Mapping[str, str]) -> tuple[list[Task], list[str]]:
    """Every model's run with its files, and what lies among the runs but is of no model."""
    there: dict[str, dict[str, str | None]] = {node: {} for node in zoo.nodes}
    others = []
    for name in names:
        _, node, *inner = name.split("/")
        if inner and node in there:
            there[node]["/".join(inner)] = sums.get(name)
        else:
            others.append(name)
    columns = (zoo.models[key].tolist() for key in ("id", "node", "variant", "last_epoch"))
    columns_and_files = zip(*columns, there.values(), strict=True)
    return [Task(*row) for row in columns_and_files], others


def names_of_runs(zoo: OpenZoo, names: Iterable[str]) -> list[str]:
    """All files of runs: those that there are, or those in the zip file of a compact zoo."""
    if isinstance(zoo.runs.store, RunArchive):
        return [f"{FOLDERS[1]}{name}" for name in zoo.runs.store.sizes if not name.endswith("/")]
    return [name for name in names if name.startswith(FOLDERS[0])]


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

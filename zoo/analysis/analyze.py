"""zoo -> analysis: its numbers, and what each chosen analysis finds."""

import hashlib
import json
import shutil
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd

from zoo.analysis import figures, style
from zoo.analysis.analysis import Analysis
from zoo.analysis.results import annotations
from zoo.analysis.summary import accuracy_by_factor, count, summarise
from zoo.dataset.dataset import ZooDataset
from zoo.disk import files, folders, paths
from zoo.errors import ZooError, one_line
from zoo.format import binary_tables, manifest, tables


def summarise_zoo(zoo: Path, name: str, missing: Mapping[str, str]) -> dict[str, Any]:
    """Write the numbers and figures of every zoo; return the numbers, with the zoo's `name` and what is missing."""
    dataset = ZooDataset(zoo)
    summary = {"name": name, "parameters": dataset.architecture.parameters, "epochs": dataset.epochs[-1]}
    summary |= summarise(dataset.models) | {"missing": dict(missing)}
    files.write_json(paths.summary(zoo), summary)
    tables.write(paths.accuracy_by_factor(zoo), accuracy_by_factor(dataset.models, dataset.factors))
    draw(dataset, name)
    return summary


def draw(dataset: ZooDataset, name: str) -> None:
    """Draw the figures, without diverged states."""
    zoo, models, states = dataset.path, dataset.models, dataset.states
    title = f"{name}: test accuracy of {count(len(models), 'model')}"
    style.write(paths.accuracy_over_epochs(zoo), figures.accuracy_over_epochs(states[~states["diverged"]], title))
    finished = models.loc[models["status"] == tables.FINISHED, "test_acc"]
    title = f"{name}: test accuracy of {count(len(finished), 'finished model')}"
    style.write(paths.final_accuracy(zoo), figures.final_accuracy(finished, title))


def analyze(zoo: Path, analyses: Sequence[Analysis], home: Path) -> dict[str, str]:
    """Make each analysis that the zoo does not have yet and that can be made of it; return why others failed.

    `home`: the folder that the zoo is to have in the end. Where an older zoo with the same models lies there, what was
    found of it is taken over. An analysis that fails is left out: it costs no other, and not the zoo.
    """
    content = digest(zoo, {*(analysis.name for analysis in analyses), *(path.name for path in paths.analyses(home))})
    take_over(home, zoo, content)
    dataset, failed = ZooDataset(zoo), {}
    for analysis in analyses:
        record = analysis.description() | {"zoo_sha256": content}
        if is_made(paths.analysis(zoo, analysis.name), record):
            continue
        try:
            make(dataset, analysis, paths.analysis(zoo, analysis.name), record, home)
        except Exception as error:  # a user's analysis may raise anything
            if not isinstance(error, ZooError):  # which says that it can't be made of this zoo
                failed[analysis.name] = one_line(error)
            note_failure(zoo, analysis.name, error)
    annotate(zoo)
    return failed


def make(dataset: ZooDataset, analysis: Analysis, folder: Path, record: Mapping[str, Any], home: Path) -> None:
    """Analyse, and put what is found into `folder`, which appears when it is complete."""
    part = paths.interrupted(home, f"{analysis.name}-{hashlib.sha256(encoded(record)).hexdigest()[:12]}")
    began = perf_counter()
    print(f"analysis {analysis.name}", file=sys.stderr)
    found = analysis(dataset, part)
    folder.parent.mkdir(exist_ok=True)
    with folders.replacing(folder) as new:
        found.write(new)
        numbers = {"seconds": round(perf_counter() - began, 1), "numbers": dict(found.numbers)}
        files.write_json(paths.analysis_record(new), dict(record) | numbers)
    paths.analysis_error(dataset.path, analysis.name).unlink(missing_ok=True)
    shutil.rmtree(part, ignore_errors=True)
    if part.parent.exists() and not any(part.parent.iterdir()):
        part.parent.rmdir()


def note_failure(zoo: Path, name: str, error: Exception) -> None:
    """What went wrong: in a line for the user's own mistakes, with the traceback for the analysis'."""
    text = str(error) if isinstance(error, ZooError) else "".join(traceback.format_exception(error))
    files.write_text(paths.analysis_error(zoo, name), text + "\n")
    print(f"analysis {name} is left out: {one_line(error)}", file=sys.stderr)


# ---------------------------------------------------------------------------------------------- what need not be redone


def digest(zoo: Path, analyses: Iterable[str]) -> str:
    """Of all that is analysed: equal for zoos with the same models, whatever was analysed of them before."""
    models = tables.read_cells(paths.models(zoo))
    table = models.drop(columns=annotated(models, analyses)).to_csv(index=False).encode()
    data = [paths.architecture(zoo), paths.metrics(zoo), paths.images(zoo), *paths.all_weights(zoo)]
    digests = {path.name: manifest.sha256_of(path) for path in data if path.exists()}
    return hashlib.sha256(encoded(digests) + table).hexdigest()


def encoded(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def annotated(models: pd.DataFrame, analyses: Iterable[str]) -> list[str]:
    """The columns of models.csv that analyses of these names added."""
    prefixes = tuple(f"{name}." for name in analyses)
    return [column for column in models if column.startswith(prefixes)]


def is_made(folder: Path, record: Mapping[str, Any]) -> bool:
    path = paths.analysis_record(folder)
    if not path.exists():
        return False
    try:
        made = files.read_json(path)
    except ValueError:  # damaged: it is made anew
        return False
    return isinstance(made, dict) and {key: made.get(key) for key in record} == dict(record)


def linked(source: str, target: str) -> None:
    files.link_or_copy(Path(source), Path(target))


def take_over(old: Path, zoo: Path, content: str) -> None:
    """Link the analyses that another zoo with the same models has."""
    if old.resolve() == zoo.resolve():
        return
    for folder in paths.analyses(old):
        if is_made(folder, {"zoo_sha256": content}) and not paths.analysis(zoo, folder.name).exists():
            shutil.copytree(folder, paths.analysis(zoo, folder.name), copy_function=linked)


# ------------------------------------------------------------------------------------------------ columns of models.csv


def annotate(zoo: Path) -> None:
    """Add to models.csv what the zoo's analyses found of single models."""
    found = {folder.name: annotations(folder) for folder in paths.analyses(zoo)}
    columns = [table.add_prefix(f"{name}.") for name, table in found.items() if table is not None]
    models = tables.read_cells(paths.models(zoo))
    joined = models.drop(columns=annotated(models, found))
    for added in columns:
        joined = joined.join(added, on="id").fillna("")
    if not joined.equals(models):
        tables.write(paths.models(zoo), joined)
        source = ZooDataset(zoo)
        binary_tables.write(zoo, source.mapped.shape[1] - 1, len(source.architecture.variants))

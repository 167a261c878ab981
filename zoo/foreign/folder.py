"""Any folder of state dicts, with a table that names them: labels.csv, or another one, with a column `path`.

Each row is a state: a file of PyTorch (.pt, .pth) or safetensors, relative to the table. Rows with the same `model` are
one model at its epochs, which the column `epoch` counts; without these columns, each row is a model. Losses and
accuracies go by the names of metrics.csv, all other columns are properties of the model, kept as hyperparameters.
"""

import csv
import io
import math
from pathlib import Path
from typing import Any

from zoo.errors import ZooError, one_line
from zoo.foreign.container import RECORDS, STATE, Folder
from zoo.foreign.files import FilePopulation, Member, names_of
from zoo.foreign.known import inferred
from zoo.foreign.population import Params, Record, is_hyperparameter, number
from zoo.foreign.states import state_in
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.node_table import parsed

PATH, MODEL, EPOCH = "path", "model_id", "epoch"
WRAPPERS = ("state_dict", "model_state_dict", "model")  # under which training scripts keep the state dict

ABOUT = """\
The models were trained elsewhere, and came as state dicts with a table of labels. What the table does not say is
unknown: the protocol, the images, and the class of the models."""

Row = dict[str, str]


class LabelledFolder(FilePopulation):
    kind = "folder"
    about = ABOUT


def unwrapped(found: Any) -> Any:
    """The state dict that a file is, or has under one of the usual keys."""
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            return found[key]
    return found


def open_folder(path: Path) -> LabelledFolder | None:
    """A folder with one table that has a column `path`, or that table itself; None of anything else."""
    table = table_at(path)
    return None if table is None else read(path, table, Folder(table.parent))


def table_at(path: Path) -> Path | None:
    found = [path] if path.is_file() and path.suffix == ".csv" else []
    if path.is_dir():
        found = [file for file in sorted(path.glob("*.csv")) if file.is_file()]
    found = [file for file in found if PATH in header_of(file)]
    if len(found) > 1:
        raise ZooError(
            f"{path} holds {', '.join(file.name for file in found)} with a column `{PATH}`: give one of these"
        )
    return found[0] if found else None


def header_of(file: Path) -> list[str]:
    with file.open("rb") as opened:
        line = opened.readline(2**16).decode(errors="replace")
    return next(csv.reader([line.removeprefix("\ufeff")]), [])


def read(path: Path, table: Path, files: Folder) -> LabelledFolder:
    models: dict[str, list[Row]] = {}
    for row in rows_in(table, files):
        models.setdefault(row.get(MODEL) or without_ending(row[PATH]), []).append(row)
    names = names_of(list(models))
    architecture: Architecture | None = None
    members: list[Member] = []
    missing: dict[str, str] = {}
    for place, rows in models.items():
        try:
            member = member_of(table, names[place], rows)
            if architecture is None:
                architecture = architecture_at(files, rows[0][PATH])
            members.append(member)
        except ZooError as error:
            missing[names[place]] = one_line(error).replace(f"{files.path}/", "")
    if architecture is None:
        node, reason = next(iter(missing.items()), ("", "it has no rows"))
        raise ZooError(f"{table} names no model that can be read ({node}: {reason}): correct it")
    return LabelledFolder(path, files, architecture, members, missing, unwrapped)


def rows_in(table: Path, files: Folder) -> list[Row]:
    try:
        rows = list(csv.DictReader(io.StringIO(files.read(table.name, RECORDS).decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{table} is no table of text ({error}): correct it") from error
    for place, row in enumerate(rows):
        if None in row or None in row.values() or not row[PATH]:
            raise ZooError(f"{table}, row {place + 1} has more or fewer cells than the header, or no path: correct it")
    return rows


def without_ending(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.rpartition(".")[0] if "." in name else path


def architecture_at(files: Folder, name: str) -> Architecture:
    path = files.named(name)
    try:
        return inferred(state_in(path, files.read(name, STATE), unwrapped), "Model")
    except ValueError as error:
        raise error if isinstance(error, ZooError) else ZooError(f"{path}: {error}") from error


def member_of(table: Path, node: str, rows: list[Row]) -> Member:
    metrics = [*tables.LOSSES_AND_ACCURACIES, "ggap", "diverged"]
    params: Params = {
        key: cell(value) for key, value in rows[0].items() if key not in (PATH, MODEL, EPOCH, *metrics) and value
    }
    if wrong := [key for key in params if not is_hyperparameter(key)]:
        raise ZooError(f"{table} has a column {wrong[0]!r}, which a zoo has for another use: rename it")
    states: dict[int, str] = {}
    records: dict[int, Record] = {}
    for row in rows:
        try:
            epoch = int(row.get(EPOCH) or 0)
            if epoch < 0 or epoch in states:
                raise ValueError(f"epoch {epoch} is there twice, or below 0")
            states[epoch], records[epoch] = row[PATH], record_of(row)
        except ValueError as error:
            raise ZooError(f"{table}: the row of {row[PATH]} can't be read ({error}): correct it") from error
    return Member(node, params, None, states, records)


def record_of(row: Row) -> Record:
    found = {key: number(float(row[key]), key) if row.get(key) else None for key in tables.LOSSES_AND_ACCURACIES}
    return found | {"diverged": row.get("diverged") in ("True", "true", "1")}


def cell(text: str) -> Any:
    """A number or what else JSON has, or else the text."""
    value = parsed(text)
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return text if isinstance(value, int) and abs(value) >= tables.LARGEST else value

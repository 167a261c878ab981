"""The CNN Wild Park (Kofinas et al. 2024): a JSON file of splits, and a file per state with its network's description.

Its models are of many architectures, and a zoo has one: models with the same tensors make a population. Each file holds
more than a state dict, of which plain values and tensors alone are read.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.errors import ZooError, one_line
from zoo.foreign.container import RECORDS, STATE, Folder
from zoo.foreign.files import FilePopulation, Member, names_of
from zoo.foreign.known import CLASSES, Choice, built, inferred
from zoo.foreign.population import Record, natural, number
from zoo.foreign.states import state_in, unpickled
from zoo.format import tables
from zoo.format.architecture import Architecture

ENDING = "splits.json"
STATE_KEY, CONFIG = "model", "config"
CHECKPOINT = "checkpoint"  # how folders of single states are called
DESCRIBED = ("channels", "kernel_size", "stride", "padding", "residual", "activation")

ABOUT = """\
The models were trained elsewhere, and are those of a CNN Wild Park (Kofinas et al. 2024, arXiv:2403.12143) that have
this architecture. `epoch` counts the states that were kept, and the column `step` of `metrics.csv` has the epochs that
they are of. Of their metrics, the test accuracy alone is known, and of their protocol nothing."""

Entry = tuple[str, float, int, str]  # path, score, step, split


class WildPark(FilePopulation):
    kind = "wild_park"
    about = ABOUT


def model_of(found: Any) -> Any:
    return found[STATE_KEY]


def open_wild_park(path: Path) -> Mapping[str, WildPark] | None:
    """The populations of a JSON of splits, or a folder with one, by names; None of anything else."""
    table = table_at(path)
    if table is None:
        return None
    files = Folder(table.parent)
    models: dict[str, list[Entry]] = {}
    for entry in entries_in(table, files):
        models.setdefault(place_of(entry[0]), []).append(entry)
    names = names_of(sorted(models, key=natural))
    groups: dict[str, tuple[Architecture, list[Member]]] = {}
    missing: dict[str, str] = {}
    for place in sorted(models, key=natural):
        try:
            architecture, member = described(files, names[place], models[place])
            groups.setdefault(name_of(architecture), (architecture, []))[1].append(member)
        except ZooError as error:
            missing[names[place]] = one_line(error).replace(f"{files.path}/", "")
    if not groups:
        node, reason = next(iter(missing.items()), ("", "it names no states"))
        raise ZooError(f"{table} names no model that can be read ({node}: {reason}): get it anew")
    made = {
        name: WildPark(path, files, architecture, members, missing, model_of)
        for name, (architecture, members) in sorted(groups.items())
    }
    return made if len(made) > 1 else {"": next(iter(made.values()))}


def table_at(path: Path) -> Path | None:
    """The JSON of splits: the path itself, or the one in a folder."""
    found = [path] if path.is_file() and path.name.endswith(ENDING) else []
    if path.is_dir():
        found = [file for file in sorted(path.glob(f"*{ENDING}")) if file.is_file()]
    found = [file for file in found if is_table(file)]
    if len(found) > 1:
        raise ZooError(f"{path} holds {', '.join(file.name for file in found)}: give one of these files")
    return found[0] if found else None


def is_table(file: Path) -> bool:
    """Whether its first bytes look like splits with scores: all of it is read, and checked, later."""
    with file.open("rb") as opened:
        begin = opened.read(4096).lstrip()
    return begin.startswith(b"{") and b'"path"' in begin and b'"' in begin


def entries_in(table: Path, files: Folder) -> list[Entry]:
    content = files.read(table.name, RECORDS)
    try:
        found = []
        for split, columns in json.loads(content).items():
            for path, score, step in zip(columns["path"], columns["score"], columns["step"], strict=True):
                if not (isinstance(path, str) and type(step) is int and 0 <= step < 2**31):
                    raise ValueError(f"an entry is {path!r} at step {step!r}")
                number(score, "test_acc")
                found.append((path, score, step, str(split)))
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ZooError(f"{table} is no JSON of splits with path, score and step ({one_line(error)[:200]})") from error


def place_of(path: str) -> str:
    """Where the model lies whose state is in this file."""
    folder, _, name = path.rpartition("/")
    model, _, own = folder.rpartition("/")
    if model and own.startswith(CHECKPOINT):
        return model
    return folder if folder and name.partition(".")[0].isdecimal() else path  # 000003.pt


def described(files: Folder, node: str, entries: list[Entry]) -> tuple[Architecture, Member]:
    """The architecture of a model, and what is known of it, by the first of its files."""
    first = entries[0][0]
    path, content = files.named(first), files.read(first, STATE)
    state = state_in(path, content, model_of)
    config = unpickled(path, content).get(CONFIG)
    choice = choice_of(config, state)
    own = {f"model.{key}": config[key] for key in DESCRIBED if key in config} if isinstance(config, dict) else {}
    try:
        json.dumps(own)
        architecture = (built(choice, state) if choice else None) or inferred(state, "Model")
    except (ValueError, TypeError, RecursionError) as error:
        raise ZooError(f"{path} has a description that can't be read ({one_line(error)[:200]})") from error
    known = choice if choice and architecture.model != "Model" else None
    params = {"model": "cnn_park", "published_split": entries[0][3], **own}
    records: dict[int, Record] = {
        step: dict.fromkeys(tables.LOSSES_AND_ACCURACIES) | {"test_acc": number(score, "test_acc"), "diverged": False}
        for _, score, step, _ in entries
    }
    return architecture, Member(node, params, known, {step: name for name, _, step, _ in entries}, records)


def choice_of(config: Any, state: Mapping[str, Tensor]) -> Choice | None:
    """What conf/model would have of the class. Its arguments are checked by building it, without memory."""
    if not isinstance(config, dict) or not all(isinstance(config.get(key), list) for key in DESCRIBED):
        return None
    if any(len(config[key]) > len(state) for key in DESCRIBED):
        return None
    shape = list(state.values())[-1].shape
    arguments = {key: config[key] for key in DESCRIBED}
    return {"name": "cnn_park", "_target_": CLASSES["cnn_park"], **arguments, "classes": shape[0] if shape else 0}


def name_of(architecture: Architecture) -> str:
    """A name for models of these tensors: the channels and kernel of each convolution, such as conv_8k5_16k3."""
    shapes = [entry.shape for entry in architecture.tensors if len(entry.shape) == 4]
    sizes = [f"{out}k{kernel}" for out, _, kernel, _ in shapes]
    return "_".join(["conv", *sizes])

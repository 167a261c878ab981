"""The CNN Wild Park (Kofinas et al. 2024): a JSON file of splits, and a file per state with its network's description.

Populations that have bare state dicts instead, as those of DWSNets and our own exports `splits`, are read as well.

Its models are of many architectures, and a zoo has one: models with the same tensors make a population. Each file holds
more than a state dict, of which plain values and tensors alone are read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
PARK = "cnn_park"
STATE_KEY, CONFIG = "model", "config"
CHECKPOINT = "checkpoint"  # how folders of single states are called
DESCRIBED = ("channels", "kernel_size", "stride", "padding", "residual", "activation")

ABOUT = """\
The models were trained elsewhere, and are those of a CNN Wild Park (Kofinas et al. 2024, arXiv:2403.12143) that have
this architecture. `epoch` counts the states that were kept, and the column `step` of `metrics.csv` has the epochs that
they are of. Of their metrics, the test accuracy alone is known, and of their protocol nothing."""

ABOUT_SPLITS = """\
The models were trained elsewhere, and came as state dicts with a JSON of splits. What that does not say is unknown: the
protocol, the images, and the class of the models. `epoch` counts the states that were kept, and the column `step` of
`metrics.csv` has the epochs that they are of."""


@dataclass(frozen=True)
class Entry:
    """A state, as the JSON has it. `score`: its test accuracy, and `label`: its class, where these are known."""

    path: str
    split: str
    step: int = 0
    score: float | None = None
    label: Any = None


class WildPark(FilePopulation):
    kind = "wild_park"

    def __init__(
        self, path: Path, files: Folder, architecture: Architecture, members: list[Member], missing: dict[str, str]
    ):
        super().__init__(path, files, architecture, members, missing, model_of)
        self.about = ABOUT if members[0].params.get("model") == PARK else ABOUT_SPLITS


def model_of(found: Any) -> Any:
    """The state dict that a file has beside its description, or is, as in the populations of DWSNets."""
    return found[STATE_KEY] if isinstance(found.get(STATE_KEY), dict) else found


def open_wild_park(path: Path) -> Mapping[str, WildPark] | None:
    """The populations of a JSON of splits, or a folder with one, by names; None of anything else."""
    table = table_at(path)
    if table is None:
        return None
    files = Folder(table.parent)
    models: dict[str, list[Entry]] = {}
    for entry in entries_in(table, files):
        models.setdefault(place_of(entry.path), []).append(entry)
    names = names_of(sorted(models, key=natural))
    groups: dict[str, tuple[Architecture, list[Member]]] = {}
    missing: dict[str, str] = {}
    for place in sorted(models, key=natural):
        try:
            architecture, member = described(files, names[place], models[place])
            group = groups.setdefault(name_of(architecture), (architecture, []))
            if architecture.tensors != group[0].tensors:
                raise ZooError(f"its tensors are others than those of {group[1][0].node}, beside the same layers")
            group[1].append(member)
        except ZooError as error:
            missing[names[place]] = one_line(error).replace(f"{files.path}/", "")
    if not groups:
        node, reason = next(iter(missing.items()), ("", "it names no states"))
        raise ZooError(f"{table} names no model that can be read ({node}: {reason}): get it anew")
    made = {
        name: WildPark(path, files, architecture, members, missing)
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
    """Whether its first bytes look like splits: all of it is read, and checked, later."""
    with file.open("rb") as opened:
        begin = opened.read(4096).lstrip()
    return begin.startswith(b"{") and b'"path"' in begin and b'"' in begin


def entries_in(table: Path, files: Folder) -> list[Entry]:
    content = files.read(table.name, RECORDS)
    try:
        found = []
        for split, columns in json.loads(content).items():
            known = [key for key in ("path", "step", "score", "label") if key in columns]
            for values in zip(*(columns[key] for key in known), strict=True):
                found.append(checked(Entry(split=str(split), **dict(zip(known, values, strict=True)))))
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ZooError(f"{table} is no JSON of splits with path, score, step ({one_line(error)[:200]})") from error


def checked(entry: Entry) -> Entry:
    """Raises ValueError for what is no entry."""
    if not (isinstance(entry.path, str) and type(entry.step) is int and 0 <= entry.step < 2**31):
        raise ValueError(f"an entry is {entry.path!r} at step {entry.step!r}")
    if not isinstance(entry.label, str | int | float | None) or (
        isinstance(entry.label, int) and abs(entry.label) >= tables.LARGEST
    ):
        raise ValueError(f"the label of {entry.path} is {entry.label!r}")
    return replace(entry, score=number(entry.score, "test_acc"))


def place_of(path: str) -> str:
    """Where the model lies whose state is in this file."""
    folder, _, name = path.rpartition("/")
    model, _, own = folder.rpartition("/")
    if model and own.startswith(CHECKPOINT):
        return model
    return folder if folder and name.partition(".")[0].isdecimal() else path  # 000003.pt


def described(files: Folder, node: str, entries: list[Entry]) -> tuple[Architecture, Member]:
    """The architecture of a model, and what is known of it, by the first of its files."""
    first = entries[0].path
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
    label = {} if entries[0].label is None else {"label": entries[0].label}
    params = {**({"model": PARK} if own else {}), "published_split": entries[0].split, **label, **own}
    records: dict[int, Record] = {
        entry.step: dict.fromkeys(tables.LOSSES_AND_ACCURACIES) | {"test_acc": entry.score, "diverged": False}
        for entry in entries
    }
    return architecture, Member(node, params, known, {entry.step: entry.path for entry in entries}, records)


def choice_of(config: Any, state: Mapping[str, Tensor]) -> Choice | None:
    """What conf/model would have of the class. Its arguments are checked by building it, without memory."""
    if not isinstance(config, dict) or not all(isinstance(config.get(key), list) for key in DESCRIBED):
        return None
    if any(len(config[key]) > len(state) for key in DESCRIBED):
        return None
    shape = list(state.values())[-1].shape
    arguments = {key: config[key] for key in DESCRIBED}
    return {"name": PARK, "_target_": CLASSES[PARK], **arguments, "classes": shape[0] if shape else 0}


def name_of(architecture: Architecture) -> str:
    """A name for models of these tensors: the channels and kernel of each convolution, such as conv_8k5_16k3; where
    there is none, the outputs of each linear layer."""
    shapes = [entry.shape for entry in architecture.tensors if len(entry.shape) == 4]
    sizes = [f"{out}k{kernel}" for out, _, kernel, _ in shapes]
    linear = [str(entry.shape[0]) for entry in architecture.tensors if len(entry.shape) == 2]
    return "_".join(["conv", *sizes]) if sizes else "_".join(["linear", *linear[:8]])

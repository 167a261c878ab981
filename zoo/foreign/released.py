"""A raw zoo in the layout of 2022: a folder per model, with params.json, result.json and a checkpoint per epoch.

The zoos of Schürholt et al. (2022) and what was made by their code lie so, and so do the sweeps of this project. Names
of checkpoints count with or without leading zeros, any may be missing; names of folders are Ray's.
"""

import json
import math
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.disk import paths
from zoo.errors import ZooError, one_line
from zoo.foreign.container import RECORDS, STATE, TEXT, Container, container
from zoo.foreign.known import CLASSES, Choice, built, choice_of, inferred, text_of
from zoo.foreign.population import MOST_EPOCHS, Params, Population, Record, is_hyperparameter, natural, number, varying
from zoo.foreign.sparsified import is_sparsified, sparse
from zoo.foreign.states import State, StateDecoder, Unwrap, itself, state_in
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.reading import is_plain_name
from zoo.format.released import KEYS, NAMES
from zoo.format.train_metrics import RUNNING, train_metrics

if TYPE_CHECKING:
    from zoo.data.images import Images

EPOCH = re.compile(r"checkpoint_(\d{1,9})", re.ASCII)
SPARSE = "sparsity_ratio"  # what records of sparsified zoos have, too
TYPED = {typed: {given: own for own, given in names.items()} for typed, names in NAMES.items()}
TYPES = {**TYPED["model"], "CNN_ARD": "cnn_small", "CNN3_ARD": "cnn_large"}  # `_ARD`: the sparsified ones

ABOUT = """\
The models were trained elsewhere, in the layout of the 2022 zoos. What their `params.json` and `result.json` say is
kept; what was not written down (how images were split and normalised, the versions of libraries) is unknown here."""


def open_released(path: Path) -> "Released | None":
    """A folder or zip file with such a zoo; None of anything else. Raises ZooError if it holds several."""
    files = container(path)
    root = root_of(files) if files else None
    return Released(files, root) if files and root is not None else None


def root_of(files: Container) -> str | None:
    """The folder in which the models' folders lie: the container's own, or one that is alone in a zip file."""
    if any(files.has(f"{name}/{PARAMS}") for name in files.children()):
        return ""
    if not files.path.is_file():
        return None
    found = {folder for folder in folders_within(files) if is_root(files, folder)}
    if len(found) > 1:
        raise ZooError(f"{files.path} holds several zoos ({', '.join(sorted(found)[:5])}): unpack it, and give one")
    return found.pop() if found else None


def folders_within(files: Container, folder: str = "", depth: int = 4) -> list[str]:
    """Those in which the models' folders may be."""
    if not depth or is_root(files, folder):
        return [folder]
    inner = [f"{folder}/{name}".lstrip("/") for name in files.children(folder)]
    return [folder, *(found for name in inner for found in folders_within(files, name, depth - 1))]


def is_root(files: Container, folder: str) -> bool:
    return any(files.has(f"{folder}/{name}/{PARAMS}".lstrip("/")) for name in files.children(folder))


PARAMS = paths.params(Path()).as_posix()
RESULT = paths.result(Path()).as_posix()
STATE_NAME, OPTIMIZER_NAME = paths.checkpoint(Path(), 0).name, paths.optimizer(Path(), 0).name


class Released(Population):
    kind = "released"
    about = ABOUT
    unwrap: Unwrap = staticmethod(itself)

    def __init__(self, files: Container, root: str):
        self.files, self.root, self.path = files, root, files.path
        self.missing: dict[str, str] = {}
        self.checkpoints: dict[str, dict[int, str]] = {}  # of each model, the file of each epoch
        self.own_params: dict[str, Params] = {}
        for node in files.children(root):
            self.find(node)
        self.nodes = sorted(self.own_params, key=natural)
        self.describe()
        self.nodes = [node for node in self.nodes if node not in self.missing]
        if not self.nodes:
            node, reason = next(iter(self.missing.items()))
            raise ZooError(f"{self.path} holds no model that can be read ({node}: {reason}): get it anew")
        self.epochs = 1 + max(epoch for node in self.nodes for epoch in self.checkpoints[node])

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes look at the files anew: that is sooner done than sending what was found."""
        return open_released, (self.path,)

    def inside(self, *names: str) -> str:
        return "/".join([*filter(None, [self.root]), *names])

    def find(self, node: str) -> None:
        """Take up a model, or the reason why not."""
        if node.startswith(".") or not is_plain_name(node):
            return
        found = {
            int(match[1]): f"{name}/{STATE_NAME}"
            for name in self.files.children(self.inside(node))
            if (match := EPOCH.fullmatch(name)) and self.files.has(self.inside(node, name, STATE_NAME))
        }
        if not found and not self.files.has(self.inside(node, PARAMS)):
            return
        try:
            if not found:
                raise ZooError(tables.UNTRAINED)
            if max(found) > MOST_EPOCHS:
                raise ZooError(f"it has an epoch {max(found)}, and no zoo has more than {MOST_EPOCHS:,}")
            self.own_params[node] = self.read_params(node)
            self.checkpoints[node] = found
        except ZooError as error:
            self.missing[node] = self.reason(error)

    def reason(self, error: ZooError) -> str:
        """A line to be published, so without the place of the population."""
        return one_line(error).replace(f"{self.path}/", "")

    def read_params(self, node: str) -> Params:
        name = self.inside(node, PARAMS)
        content = self.files.read(name, TEXT)
        try:
            value = json.loads(content)
            json.dumps(value, ensure_ascii=False).encode()  # not so halves of a character
        except (ValueError, RecursionError) as error:
            raise ZooError(f"{self.files.named(name)} is damaged: not JSON ({error})") from error
        if not isinstance(value, dict):
            raise ZooError(f"{self.files.named(name)} is damaged: it holds a {type(value).__name__}, not an object")
        if large := [key for key, own in value.items() if type(own) is int and abs(own) >= tables.LARGEST]:
            raise ZooError(f"{self.files.named(name)} has a number as {large[0]!r} that is too large for a table")
        return value

    # ------------------------------------------------------------------------------------------------- architecture

    def describe(self) -> None:
        """Find the architecture of most models, its variants, and which models have another."""
        groups = Counter(kind_of(params) for params in self.own_params.values())
        found: dict[str, tuple[Architecture, Choice | None, int]] = {}
        for node in self.nodes:
            kind = kind_of(self.own_params[node])
            if kind in found:
                continue
            try:
                found[kind] = (*self.described(node), groups[kind])
            except (ZooError, ValueError) as error:
                self.missing[node] = one_line(error) if not isinstance(error, ZooError) else self.reason(error)
        if not found:
            return
        self.architecture = self.most_common(list(found.values()))
        self.choices: dict[str, Choice | None] = {}
        self.variants: dict[str, int] = {}
        for kind, (architecture, choice, _) in found.items():
            if architecture.tensors == self.architecture.tensors:
                self.architecture.add_variants(architecture)
                self.choices[kind] = choice
                self.variants[kind] = self.architecture.variants.index(architecture.variants[0])
        self.choice = next(iter(self.choices.values()))
        for node in self.nodes:
            if node not in self.missing and kind_of(self.own_params[node]) not in self.variants:
                self.missing[node] = f"its tensors are others than those of most models, of {self.architecture.model}"
        self.decoder = StateDecoder(self.architecture, self.unwrap)

    @staticmethod
    def most_common(found: list[tuple[Architecture, Choice | None, int]]) -> Architecture:
        counts: dict[str, int] = {}
        for architecture, _, count in found:
            key = repr(architecture.tensors)
            counts[key] = counts.get(key, 0) + count
        most = max(counts, key=lambda key: counts[key])
        return next(architecture for architecture, _, _ in found if repr(architecture.tensors) == most)

    def described(self, node: str) -> tuple[Architecture, Choice | None]:
        """The architecture of a model as its first state shows it, and the class if this project has it."""
        name = self.inside(node, self.checkpoints[node][min(self.checkpoints[node])])
        whole = state_in(self.files.named(name), self.files.read(name, STATE), itself)
        state = sparse(whole)
        if is_sparsified(whole):
            self.unwrap, self.others = sparse, (SPARSE,)
        for choice in candidates(self.own_params[node], state):
            if architecture := built(choice, state):
                return architecture, choice
        model = self.own_params[node].get("model::type")
        return inferred(state, model if isinstance(model, str) and model.isidentifier() else "Model"), None

    # ------------------------------------------------------------------------------------------------------- a model

    def params(self, model: int) -> Params:
        node = self.nodes[model]
        return self.translated[node]

    @cached_property
    def translated(self) -> dict[str, Params]:
        found = {}
        for node in self.nodes:
            own = self.own_params[node]
            choice = self.choices[kind_of(own)]
            found[node] = own if is_ours(own) else translated(own, choice)
            found[node] = found[node] | {"node": node}
        return found

    def variant(self, model: int) -> int:
        """By its settings: whoever reads a state sees if that is so."""
        return self.variants[kind_of(self.own_params[self.nodes[model]])]

    def kept(self, model: int) -> list[int]:
        return self.sorted_epochs[model]

    @cached_property
    def sorted_epochs(self) -> list[list[int]]:
        return [sorted(self.checkpoints[node]) for node in self.nodes]

    def name_of(self, model: int, epoch: int) -> str:
        node = self.nodes[model]
        return self.inside(node, self.checkpoints[node][epoch])

    def vector(self, model: int, epoch: int) -> np.ndarray:
        return self.vector_in(model, epoch, self.files.read(self.name_of(model, epoch), STATE))

    def vector_in(self, model: int, epoch: int, checkpoint: bytes) -> np.ndarray:
        return self.decoder.vector(lambda: self.files.named(self.name_of(model, epoch)), checkpoint)

    def checkpoint(self, model: int, epoch: int) -> bytes | None:
        """None of a sparsified model: the sparse network is no file."""
        return None if self.others else self.files.read(self.name_of(model, epoch), STATE)

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        """None of a sparsified model, too, whose optimizer has more parameters."""
        if self.others or epoch not in self.checkpoints[self.nodes[model]]:
            return None
        name = f"{self.name_of(model, epoch).rpartition('/')[0]}/{OPTIMIZER_NAME}"
        return self.files.read(name, STATE) if self.files.has(name) else None

    def file(self, model: int, epoch: int) -> str | None:
        return self.files.file(self.name_of(model, epoch))

    def history(self, model: int) -> dict[int, Record]:
        """A line that is no record is as if it were not there: a warning says so, but of half a line at the end."""
        name = self.inside(self.nodes[model], RESULT)
        if not self.files.has(name):
            return {}
        content = self.files.read(name, RECORDS)
        found: dict[int, Record] = {}
        lines = content.split(b"\n")  # the last is what follows the last line's end: nothing, or torn
        for place, line in enumerate(lines):
            try:
                if line.strip():
                    epoch, record = record_in(line, self.others)
                    found[epoch] = record  # where training was begun again, the later one
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if place < len(lines) - 1:
                    what = f"line {place + 1} is no record ({one_line(error)[:200]}), and is left out"
                    warnings.warn(f"{self.files.named(name)}, {what}", stacklevel=2)
        return found

    def protocol(self) -> dict[str, Any]:
        first = self.own_params[self.nodes[0]]
        return {"train_metrics": train_metrics(first) if was_trained_here(first) else RUNNING}

    @cached_property
    def search_pattern(self) -> dict[str, list[Any]]:
        """As config.json of a sweep of this project has it, or else what varies."""
        name = self.inside(paths.config(Path()).name)
        if not (is_ours(self.own_params[self.nodes[0]]) and self.files.has(name)):
            return varying(self.everything)
        content = self.files.read(name, TEXT)
        try:
            pattern = json.loads(content).get("search_pattern")
            if pattern is None:
                return varying(self.everything)
            if wrong := [key for key in pattern if not is_hyperparameter(key) or not isinstance(pattern[key], list)]:
                raise ValueError(f"a factor can't be {wrong[0]!r}")
            return dict(pattern)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ZooError(f"{self.files.named(name)} is damaged ({one_line(error)[:200]}): get it anew") from error

    def images(self) -> "Images":
        from zoo.foreign.images import released_images

        name = self.inside(paths.images(Path()).name)
        if not self.files.has(name):
            return super().images()
        return released_images(self.files, name)


def is_ours(params: Mapping[str, Any]) -> bool:
    """Whether a params.json is that of a run of this project, or of a zoo that it converted."""
    config = params.get("config")
    return isinstance(config, dict) and isinstance(config.get("model"), dict) and isinstance(params.get("node"), str)


def was_trained_here(params: Mapping[str, Any]) -> bool:
    """Whether it has everything by which a model is trained."""
    return is_ours(params) and "trainer" in params["config"]


def kind_of(params: Mapping[str, Any]) -> str:
    """Equal for models whose states have equal keys: by everything that is set of their networks."""
    if is_ours(params):
        return text_of(params["config"]["model"])
    return text_of({key: value for key, value in params.items() if key.startswith("model::") and "init" not in key})


def candidates(params: Mapping[str, Any], state: State) -> list[Choice]:
    """The choices of this project's classes that a model may be of."""
    if is_ours(params):
        choice = dict(params["config"]["model"])
        return [choice]
    name = TYPES.get(str(params.get("model::type")))
    if name not in CLASSES:
        return []
    if name == "resnet18":
        return [choice_of(name, state)]
    activation, dropout = typed("model.activation", params.get("model::nlin")), params.get("model::dropout", 0.0)
    return [choice_of(name, state, activation=activation, dropout=dropout)]


def typed(key: str, value: Any) -> Any:
    return TYPED.get(key, {}).get(value, value) if isinstance(value, str) else value


def translated(params: Mapping[str, Any], choice: Choice | None) -> Params:
    """The foreign keys, and beside them their values by the names one types."""
    own = {name: typed(name, params[key]) for key, name in KEYS.items() if key in params and plain(params[key])}
    if "model::type" in params:
        own["model"] = choice["name"] if choice else str(params["model::type"])
    if own.get("optim") != "sgd":  # the zoos' configs have a momentum for adam, too, which does not use it
        own.pop("optim.momentum", None)
    return {**params, **own, "config": {"model": choice} if choice else {}}


def plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | None) and value == value


def record_in(line: bytes, others: Sequence[str]) -> tuple[int, Record]:
    """The epoch and record of a line of result.json. Raises ValueError, KeyError or TypeError if it isn't that."""
    saved = json.loads(line)
    epoch = saved["training_iteration"]
    if type(epoch) is not int or not 0 <= epoch:
        raise ValueError(f"training_iteration is {epoch!r}")
    record: Record = {key: number(saved.get(key), key) for key in (*tables.LOSSES_AND_ACCURACIES, *others)}
    lost = [saved.get(key) for key in ("train_loss", "test_loss")]
    nan = any(isinstance(value, float) and not math.isfinite(value) for value in lost)
    return epoch, record | {"diverged": bool(saved.get("diverged", False)) or nan}

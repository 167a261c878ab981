"""A node: one point of the grid, a complete config, and what follows from it alone."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.released import released
from zoo.format.train_metrics import EXACT, train_metrics
from zoo.node.callbacks import changing
from zoo.node.from_zoo import lineage
from zoo.node.user_code import user_code

MAX_NAME = 200  # characters; most file systems allow 255 bytes


@dataclass(frozen=True, eq=False)
class Node:
    """A complete config (plain, resolved, see `zoo.node.resolvers.plain`), and what was typed for it.

    Two nodes train the same model if and only if their identities, and so their names, are equal. `spans_epochs`: the
    identity would be another with another trainer.max_epochs, so that more epochs don't continue the model.
    """

    config: Mapping[str, Any]
    overrides: Sequence[str] = ()
    spans_epochs: bool = False

    @cached_property
    def values(self) -> dict[str, Any]:
        """What is trained: the config without the keys that it calls immaterial, and `sources`.

        Of the Trainer's callbacks it has those that may change a model. `sources` has a digest of the code that the
        user gave, by config group: another code trains other models. Sweeps of version 0.1.0 have none.
        """
        immaterial = [key.split(".") for key in self.config["immaterial"]]
        values = without(self.config, [["immaterial"], *immaterial, ["trainer", "callbacks"]])
        if callbacks := changing(self.config.get("trainer")):
            values["trainer"] = values["trainer"] | {"callbacks": callbacks}
        if self.is_old:
            self.require_known_to_old(values)
            return old_values(values)
        digests = {group: code.digest for group, code in user_code(self.config).items()}
        return values | ({"sources": digests} if digests else {})

    def require_known_to_old(self, values: Mapping[str, Any]) -> None:
        """Raise ZooError for an option that the names of version 0.1.0 don't tell, though it makes another model."""
        if options := sorted(set(values["trainer"]) - {"max_epochs"}):
            raise ZooError(
                f"{self.sweep} was begun by version 0.1.0, whose names of models don't tell trainer.{options[0]}: "
                "choose another zoo.name"
            )

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The part of the values that decides the name: all but how long is trained.

        A schedule over the whole training has the number of its steps among its own values.
        """
        return self.values if self.is_old else identity(self.values)

    @cached_property
    def name(self) -> str:
        """The run directory's name: the values one most often varies, then a hash of the identity, defaults included.

        Raises ZooError if that would be no name of a folder.
        """
        digest = hashlib.sha256(json.dumps(canonical(self.identity)).encode()).hexdigest()[:10]
        model, optim = self.config["model"], self.config["optim"]
        parts = [in_short(model.get("activation")), self.config["init"]["name"], optim["name"]]
        parts += [f"lr{short(optim['lr'])}"] if "lr" in optim else []
        parts += [f"wd{short(optim['weight_decay'])}"] if "weight_decay" in optim else []
        parts += [f"dropout{short(model['dropout'])}"] if "dropout" in model else []
        name = "_".join(str(part) for part in [*parts, f"seed{self.seed}", digest] if part)
        if not re.fullmatch(r"\w[\w.+-]*", name) or len(name) > MAX_NAME:
            raise ZooError(
                f"{name[:MAX_NAME]!r} can't be a run's folder: init.name, optim.name and model.activation must be "
                f"short, of letters, digits and _.+-"
            )
        return name

    @cached_property
    def is_old(self) -> bool:
        """Whether the sweep was begun by version 0.1.0, which named its nodes by other rules."""
        return paths.old_nodes(self.sweep).exists()

    @property
    def seed(self) -> int:
        return self.config["seed"]

    @property
    def train_metrics(self) -> str:
        """What is recorded of training images, see `zoo.format.train_metrics`. Version 0.1.0 had no choice."""
        return EXACT if self.is_old else self.config["train_metrics"]

    @property
    def max_epochs(self) -> int:
        return self.config["trainer"]["max_epochs"]

    @property
    def sweep(self) -> Path:
        return Path(self.config["sweeps"]) / self.config["zoo"]["name"]

    @cached_property
    def run(self) -> Path:
        return self.sweep / self.name

    @property
    def flat(self) -> dict[str, Any]:
        """The values under the names one types: `init` and the other groups by name, `optim.lr` and such by path."""
        return dict(flattened(self.values))

    @property
    def released(self) -> dict[str, Any]:
        """The values under the keys of the 2022 zoos."""
        return released(self.flat)

    @property
    def params(self) -> dict[str, Any]:
        """What params.json holds: the values by the names one types, by the released ones, and nested, as `config`.

        Of a model that started from a state of a zoo, `parent` says from which.
        """
        return {"node": self.name} | self.flat | self.released | lineage(self.config) | {"config": self.values}

    def is_same(self, values: Mapping[str, Any]) -> bool:
        """Whether the `config` of a params.json has this node's identity."""
        return canonical(values if self.is_old else identity(values)) == canonical(self.identity)


def without(values: Mapping[str, Any], keys: Sequence[Sequence[str]]) -> dict[str, Any]:
    """A copy of nested values without some keys, each given as the path to it."""
    here = {path[0] for path in keys if len(path) == 1}
    left = {key: value for key, value in values.items() if key not in here}
    for key in {path[0] for path in keys if len(path) > 1}:
        if isinstance(left.get(key), Mapping):
            left[key] = without(left[key], [path[1:] for path in keys if path[0] == key and len(path) > 1])
    return left


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """All values but how long is trained; one that is what it was before there was a choice is left out."""
    implied = [["train_metrics"]] if train_metrics(values) == EXACT else []
    return without(values, [["trainer", "max_epochs"], *implied])


def old_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by which version 0.1.0 named a node: of `trainer` only max_epochs counted, of a schedule no steps."""
    values = dict(values) | {"trainer": {"max_epochs": values["trainer"]["max_epochs"]}}
    return without(values, [["schedule", "total_steps"], ["train_metrics"]])


def canonical(value: Any) -> Any:
    """Equal values in one form: 0 and 0.0 are the same number, whichever was typed."""
    if isinstance(value, Mapping):
        items = {str(key): item for key, item in value.items()}  # as JSON has keys
        return {key: canonical(items[key]) for key in sorted(items)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def in_short(activation: Any) -> Any:
    """Of a network whose layers have one each: all of them, once if they are the same."""
    return "-".join(map(str, dict.fromkeys(activation))) if isinstance(activation, list) else activation


def short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def flattened(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value by its whole path, and each group that has a name by that.

    Keys that one doesn't type are left out: Hydra's (`_target_`, `_partial_`) follow from the groups' names, others
    (`_state_sha256`) from the zoo that training starts from.
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            if "name" in value:
                yield key, value["name"]
            yield from ((f"{key}.{inner}", item) for inner, item in flattened(value) if inner != "name")
        elif not str(key).startswith("_"):
            yield str(key), value

"""A node: one node of the grid, a complete config, and what follows from it alone."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zoo.node.released import released

# What says where and how to work, not what is trained.
NOT_TRAINED = {
    "": ("hydra", "sweeps", "zoo", "draw", "engine", "stop_diverged"),
    "data": ("root", "download", "cache", "source"),
}


@dataclass(frozen=True, eq=False)
class Node:
    """A complete config (plain, resolved, see `zoo.node.resolvers.plain`), and what was typed for it.

    Two nodes train the same model if and only if their values, and so their names, are equal.
    """

    config: Mapping[str, Any]
    overrides: Sequence[str] = ()

    @cached_property
    def values(self) -> dict[str, Any]:
        """The part of the config that decides what is trained. Of `trainer` only max_epochs counts."""
        values = {key: value for key, value in self.config.items() if key not in NOT_TRAINED[""]}
        values["data"] = {key: value for key, value in values["data"].items() if key not in NOT_TRAINED["data"]}
        values["trainer"] = {"max_epochs": values["trainer"]["max_epochs"]}
        return values

    @cached_property
    def name(self) -> str:
        """The run directory's name: the values one most often varies, then a hash of all of them, defaults included."""
        digest = hashlib.sha256(json.dumps(canonical(self.values)).encode()).hexdigest()[:10]
        model, optim = self.values["model"], self.values["optim"]
        parts = [model.get("activation"), self.values["init"]["name"], optim["name"], f"lr{optim['lr']:g}"]
        parts += [f"wd{optim['weight_decay']:g}"]
        parts += [f"dropout{model['dropout']:g}"] if "dropout" in model else []
        parts += [f"seed{self.seed}", digest]
        return "_".join(part for part in parts if part)

    @property
    def seed(self) -> int:
        return self.config["seed"]

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
        return released(self.values)

    @property
    def params(self) -> dict[str, Any]:
        """What params.json holds: the values by the names one types, by the released ones, and nested, as `config`."""
        return {"node": self.name} | self.flat | self.released | {"config": self.values}


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


def flattened(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value by its whole path, and each group that has a name by that.

    Hydra's own keys (`_target_`, `_partial_`) are left out: they follow from the groups' names.
    """
    for key, value in values.items():
        if isinstance(value, Mapping):
            if "name" in value:
                yield key, value["name"]
            yield from ((f"{key}.{inner}", item) for inner, item in flattened(value) if inner != "name")
        elif not str(key).startswith("_"):
            yield str(key), value

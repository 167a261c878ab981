"""config.json and nodes.txt: what a sweep is to hold, and by which protocol."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.node.node import Node, canonical


class Manifest:
    """A command's nodes, added to those of the commands before it."""

    def __init__(self, folder: Path, nodes: Mapping[str, Node], command: Sequence[str]):
        self.folder = folder
        before = read_manifest(folder)
        self.names = list(dict.fromkeys([*before["nodes"], *nodes]))
        self.commands = before["commands"] + [list(command)] * (list(command) not in before["commands"])
        own, released = Values(before["values"]), Values(before["released"])
        for node in nodes.values():
            own.add(node.flat)
            released.add(node.released)
        self.values, self.released = own.lists(), released.lists()
        for key in self.values:
            if len(self.values[key]) > 1 and (
                key in ("data", "model", "trainer.max_epochs") or key.startswith("data.")
            ):
                raise ZooError(
                    f"{folder} would hold models of different {key}: {', '.join(map(str, self.values[key]))}. "
                    "A zoo has one protocol: choose another zoo.name for these"
                )

    def write(self) -> None:
        factors = {key: values for key, values in self.values.items() if len(values) > 1}
        protocol = {key: values[0] for key, values in self.values.items() if len(values) == 1}
        files.write_text(paths.nodes(self.folder), "".join(f"{name}\n" for name in self.names))
        files.write_json(
            paths.config(self.folder),
            {
                "name": self.folder.name,
                "models": len(self.names),
                "search_pattern": factors,
                "protocol": protocol,
                "commands": self.commands,
                "released": {key: v[0] if len(v) == 1 else v for key, v in self.released.items()},
            },
        )


class Values:
    """The distinct values of every key, in the order in which they came."""

    def __init__(self, lists: Mapping[str, list[Any]]):
        self.distinct: dict[str, dict[str, Any]] = {}
        for key, values in lists.items():
            for value in values:
                self.add({key: value})

    def add(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self.distinct.setdefault(key, {}).setdefault(json.dumps(canonical(value)), value)

    def lists(self) -> dict[str, list[Any]]:
        return {key: list(values.values()) for key, values in self.distinct.items()}


def read_manifest(folder: Path) -> dict[str, Any]:
    """A sweep's node names, commands, and lists of values by key; all empty where there is no sweep yet."""
    if not paths.config(folder).exists():
        foreign = [entry for entry in folder.glob("[!.]*") if not paths.hydra(entry).is_dir()]
        if foreign:
            raise ZooError(
                f"{folder} is no sweep: it has no {paths.config(folder).name}, but {foreign[0].name}. "
                "Choose another zoo.name"
            )
        return {"nodes": [], "commands": [], "values": {}, "released": {}}
    config = files.read_json(paths.config(folder))
    values = {key: [value] for key, value in config["protocol"].items()} | config["search_pattern"]
    released = {key: value if isinstance(value, list) else [value] for key, value in config["released"].items()}
    names = paths.nodes(folder).read_text(encoding="utf-8").split()
    return {"nodes": names, "commands": config["commands"], "values": values, "released": released}

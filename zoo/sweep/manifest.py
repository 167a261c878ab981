"""config.json and nodes.csv: what a sweep is to hold, and by which protocol."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.node_table import read_nodes, write_nodes
from zoo.format.released import released
from zoo.format.train_metrics import train_metrics
from zoo.node.node import Node, canonical, flattened
from zoo.node.steps import batches_per_epoch

# What all models of a zoo have in common: images, architecture, how long is trained, what is recorded.
SHARED = ("data", "model", "trainer.max_epochs", "train_metrics")
SHARED_GROUPS = ("data.",)
SOURCES = "sources."  # digests of the user's code, by config group

Row = dict[str, Any]  # a node's values by the names one types

told: set[Path] = set()  # damaged files of which this process has said so


@dataclass(frozen=True)
class Manifest:
    """The nodes of a sweep with their values, and the commands that they came by.

    `rows` of nodes whose values are not known (of a damaged sweep) are empty. `images`: the digest of dataset.pt.
    `spans_epochs`: more epochs would not continue all of the nodes, see `zoo.node.node.Node`.
    """

    folder: Path
    rows: Mapping[str, Row] = field(default_factory=dict)
    commands: Sequence[Sequence[str]] = ()
    images: str | None = None
    spans_epochs: bool = False

    @classmethod
    def read(cls, folder: Path) -> Self:
        """A sweep's manifest; empty where there is no sweep yet. What is damaged is made anew from its runs.

        Raises ZooError if the folder holds anything else than a sweep.
        """
        config = read_config(folder)
        rows: dict[str, Row] = dict.fromkeys(read_nodes(folder), {})
        if config is None:
            require_ours(folder)
            config = {"protocol": {}, "commands": []}
        elif paths.nodes(folder).exists():
            rows = {name: config["protocol"] | row for name, row in read_nodes(folder).items()}
        rows |= rows_of_runs(folder, [name for name, row in rows.items() if row])
        rows = {name: row and with_train_metrics(row) for name, row in rows.items()}
        spans = any(spans_training(row) for row in rows.values() if row)
        return cls(folder, rows, config["commands"], config.get("images"), config.get("spans_epochs", spans) is True)

    def including(self, nodes: Mapping[str, Node], command: Sequence[str], images: str | None = None) -> Self:
        """The same with a command's nodes, which may be there already.

        Raises ZooError if the nodes, or the images, don't fit to those there.
        """
        if self.images and images and self.images != images:
            raise ZooError(
                f"{self.folder} was begun with other images of the same name than those that are there now. A zoo has "
                "one protocol: choose another zoo.name, or put the former raw files back"
            )
        rows = self.extended(nodes)
        commands = [*self.commands, *[list(command)] * (list(command) not in self.commands)]
        spans = self.spans_epochs or any(node.spans_epochs for node in nodes.values())
        grown = replace(self, rows=rows, commands=commands, images=self.images or images, spans_epochs=spans)
        grown.require_one_protocol()
        return grown

    def extended(self, nodes: Mapping[str, Node]) -> dict[str, Row]:
        """All rows, when a command may train its nodes for more epochs than the sweep's so far."""
        new = {name: with_train_metrics(node.flat) for name, node in nodes.items()}
        before, now = self.max_epochs, max_epochs(new)
        if before is not None and now is not None and now < before:
            raise ZooError(
                f"{self.folder} would hold models of different trainer.max_epochs: {before}, {now}. A zoo has one "
                "protocol: choose another zoo.name for these"
            )
        if before is None or now is None or now == before:
            return {**self.rows, **new}
        reason = "was begun by version 0.1.0" if paths.old_nodes(self.folder).exists() else None
        if self.spans_epochs:
            reason = f"trains to {before} epochs by a schedule that spans them all"
        if reason:
            raise ZooError(f"{self.folder} {reason}: it can't go on to {now}. Choose another zoo.name")
        epochs = {"trainer.max_epochs": now}
        return {**{name: row | epochs if row else row for name, row in self.rows.items()}, **new}

    @property
    def max_epochs(self) -> int | None:
        return max_epochs(self.rows)

    def dropping(self, names: Iterable[str]) -> Self:
        """The same without some nodes."""
        gone = set(names)
        return replace(self, rows={name: row for name, row in self.rows.items() if name not in gone})

    def values(self) -> dict[str, list[Any]]:
        """The distinct values of every key, in the order in which they came."""
        return distinct(self.rows.values())

    def require_one_protocol(self) -> None:
        self.require_same_code()
        for key, found in self.values().items():
            if len(found) > 1 and is_shared(key):
                raise ZooError(
                    f"{self.folder} would hold models of different {key}: {', '.join(map(str, found))}. "
                    "A zoo has one protocol: choose another zoo.name for these"
                )

    def require_same_code(self) -> None:
        """Of one choice of a config group, that is: others can be of other files."""
        digests: dict[tuple[str, str], Any] = {}
        for row in self.rows.values():
            for key in [key for key in row if key.startswith(SOURCES)]:
                group = key.removeprefix(SOURCES)
                if digests.setdefault((group, str(row.get(group))), row[key]) != row[key]:
                    raise ZooError(
                        f"the code of {group} is not what it was when {self.folder} was begun "
                        f"(kept in {paths.source(self.folder, group)}). Put that back, or choose another zoo.name"
                    )

    def write(self) -> None:
        """Write both files; config.json, which says that this is a sweep, last."""
        values = self.values()
        factors = {key: found for key, found in values.items() if len(found) > 1}
        protocol = {key: found[0] for key, found in values.items() if len(found) == 1}
        write_nodes(self.folder, self.rows, list(factors))
        old = distinct(released(row) for row in self.rows.values() if row)
        files.write_json(
            paths.config(self.folder),
            {
                "name": self.folder.name,
                "models": len(self.rows),
                "search_pattern": factors,
                "protocol": protocol,
                "commands": self.commands,
                "spans_epochs": self.spans_epochs,
                **({"images": self.images} if self.images else {}),
                "released": {key: found[0] if len(found) == 1 else found for key, found in old.items()},
            },
        )


def with_train_metrics(row: Row) -> Row:
    """The row of a node of before there was a choice says what that had; another is left as it is."""
    return {**row, "train_metrics": train_metrics(row)}


def is_shared(key: str) -> bool:
    return key in SHARED or key.startswith(SHARED_GROUPS)


def max_epochs(rows: Mapping[str, Row]) -> int | None:
    return max((row["trainer.max_epochs"] for row in rows.values() if row), default=None)


def spans_training(row: Row) -> bool:
    """Whether a node's schedule has the number of all its training steps, or epochs, among its values: what is known
    of a sweep that doesn't say so (`spans_epochs`)."""
    epochs = row["trainer.max_epochs"]
    batches = batches_per_epoch(row["data.train"], row["batch_size"], row.get("trainer.limit_train_batches"))
    spans = {batches * epochs} | ({epochs} if row.get("schedule.interval") == "epoch" else set())
    return any(key.startswith("schedule.") and value in spans for key, value in row.items() if is_number(value))


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def distinct(rows: Iterable[Row]) -> dict[str, list[Any]]:
    """The distinct values of every key, in the order in which they came."""
    found: dict[str, dict[Any, Any]] = {}
    for row in rows:
        for key, value in row.items():
            same = (type(value) is bool, value) if isinstance(value, int | float) else json.dumps(canonical(value))
            found.setdefault(key, {}).setdefault(same, value)
    return {key: list(values.values()) for key, values in found.items()}


def read_config(folder: Path) -> dict[str, Any] | None:
    """config.json with `protocol` and `commands`; None where there is none, or only a damaged one."""
    path = paths.config(folder)
    if not path.exists():
        return None
    try:
        config = files.read_json(path)
        if isinstance(config["protocol"], dict) and isinstance(config["commands"], list):
            return config
    except (ZooError, KeyError, TypeError):
        pass
    if path not in told:
        told.add(path)
        print(
            f"{path} is damaged, and is made anew from the runs and this command; former commands are lost",
            file=sys.stderr,
        )
    return None


def require_ours(folder: Path) -> None:
    """Raise ZooError if a folder without config.json holds anything that no sweep has."""
    ours = {path(folder).name for path in (paths.config, paths.nodes, paths.old_nodes, paths.images, paths.log)}
    ours |= {path(folder).name for path in (paths.architecture, paths.model_source, paths.multirun)}
    ours |= {path.name for path in folder.glob(paths.source(folder, "*").name)}
    for entry in sorted(folder.glob("[!.]*")):
        if entry.name not in ours and not paths.hydra(entry).is_dir() and not paths.params(entry).exists():
            raise ZooError(
                f"{folder} is no sweep: it has no {paths.config(folder).name}, but {entry.name}. "
                "Choose another zoo.name"
            )


def rows_of_runs(folder: Path, known: Sequence[str]) -> dict[str, Row]:
    """The values of the runs that there are beside the known ones, as far as they can be read."""
    rows = {}
    there = [run.name for run in folder.glob("[!.]*") if paths.params(run).exists()]
    for name in sorted(set(there) - set(known)):
        try:
            params = files.read_json(paths.params(folder / name))
            if params["node"] == name:
                rows[name] = dict(flattened(params["config"]))
        except (ZooError, KeyError, TypeError, AttributeError):
            continue  # training writes it anew
    return rows

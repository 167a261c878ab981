"""Models of zoos put into a new one: their runs, weights and tables, and what config.json says of all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zoo.collation.collate import in_order
from zoo.collation.reading import own_file
from zoo.curation.open_zoo import OpenZoo
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.compact import COMPACT, FOLDERS
from zoo.format.manifest import sha256_of
from zoo.format.node_table import Row, write_nodes
from zoo.format.record import Record
from zoo.format.released import released
from zoo.format.runs import Place, RunArchive, checkpoint_at, optimizer_at
from zoo.format.zoo_writer import Params, ZooWriter
from zoo.sweep.manifest import distinct, with_train_metrics

PROVENANCE = ("merged_from", "extracted_from", "where", "converted")  # keys of config.json


@dataclass(frozen=True)
class Model:
    """A model to be taken, from the zoo that has it."""

    zoo: OpenZoo
    id: int
    node: str
    variant: int
    params: Params

    @classmethod
    def of(cls, zoo: OpenZoo, id: int) -> "Model":
        row = zoo.models.iloc[id]
        return cls(zoo, id, row["node"], int(row["variant"]), zoo.runs.params(row["node"]))

    @property
    def records(self) -> list[Record]:
        """As the table of states has them, which of a zoo of anyone's can be trusted as little as its runs' files."""
        found = self.zoo.runs.records(self.node)
        if len(found) != self.zoo.models["last_epoch"].iloc[self.id] + 1:
            raise ZooError(f"{self.zoo.path} is damaged: {self.node} has {len(found)} records, and others in the table")
        return found

    @property
    def row(self) -> Row:
        """Its values by the names one types.

        In a zoo of models that were trained elsewhere, config.json knows more than they do: what their images are like.
        """
        protocol = self.zoo.config["protocol"]
        known = {*protocol, *self.zoo.config["search_pattern"]}
        own = {key: value for key, value in self.params.items() if key in known}
        return with_train_metrics({**protocol, **own} if self.zoo.is_converted else own)


def origin(zoo: OpenZoo) -> dict[str, Any]:
    """What a new zoo says of one that its models come from."""
    sums = paths.checksums(zoo.path)
    known = {key: zoo.config[key] for key in PROVENANCE if key in zoo.config}
    return {
        "name": zoo.path.resolve().name,
        "models": len(zoo.models),
        "sha256sums": sha256_of(sums) if sums.is_file() else None,
        **known,
    }


def require_apart(into: Path, zoos: Iterable[Path]) -> None:
    """Raise ZooError if the new zoo would be in one that it is made of, which stays as it is."""
    for zoo in zoos:
        if into.resolve().is_relative_to(zoo.resolve()):
            raise ZooError(f"--into={into} lies in {zoo}, which stays as it is: choose another folder")


def config_of(
    name: str, rows: Mapping[str, Row], zoos: Sequence[OpenZoo], provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The config.json of a zoo with these nodes, which come from other zoos; but for the digest of its images."""
    values = distinct(rows.values())
    commands: list[Any] = []
    for zoo in zoos:
        commands += [command for command in zoo.config.get("commands", []) if command not in commands]
    old = distinct(released(row) for row in rows.values() if row)
    return {
        "name": name,
        "models": len(rows),
        "search_pattern": {key: found for key, found in values.items() if len(found) > 1},
        "protocol": {key: found[0] for key, found in values.items() if len(found) == 1},
        "commands": commands,
        **provenance,
        **next(({"converted": zoo.config["converted"]} for zoo in zoos if zoo.is_converted), {}),
        "released": {key: found[0] if len(found) == 1 else found for key, found in old.items()},
    }


def put_together(
    new: Path, models: Iterable[Model], rows: Mapping[str, Row], config: Mapping[str, Any], architecture: Architecture
) -> None:
    """Write into the empty folder `new` what a zoo has before it is analysed."""
    factors, epochs = list(config["search_pattern"]), config["protocol"]["trainer.max_epochs"]
    by_node = {model.node: model for model in models}
    ordered = [by_node[params["node"]] for params in in_order([model.params for model in by_node.values()], factors)]
    zoos = list({model.zoo.path: model.zoo for model in ordered}.values())
    others = others_of(zoos)
    is_compact = all(isinstance(model.zoo.runs.store, RunArchive) for model in ordered)
    with ZooWriter(new, architecture, epochs, factors, COMPACT if is_compact else FOLDERS, others) as writer:
        for model in tqdm(ordered, "taking", unit="model"):
            records = model.records
            take_run(model, records, paths.runs(new) / model.node, is_compact)
            variant = architecture.variants.index(model.zoo.architecture.variants[model.variant])
            states = model.zoo.weights.model(model.id)[: len(records)]
            writer.add(model.params, variant, as_in_tables(model, records, others), states)
    digest = put_files(new, zoos)
    files.write_json(paths.config(new), {**config, **({"images": digest} if digest else {})})
    if paths.nodes(zoos[0].path).exists():
        write_nodes(new, rows, factors)
    else:  # of version 0.1.0, whose names follow other rules: this file is the mark of that
        files.write_text(paths.old_nodes(new), "".join(f"{name}\n" for name in rows))


def put_files(new: Path, zoos: Sequence[OpenZoo]) -> str | None:
    """The images and model.py, of a zoo that was made here if there is one; returns the digest of the images."""
    first = sorted(zoos, key=lambda zoo: zoo.is_converted)
    for place in (paths.images, paths.model_source):
        for zoo in [zoo for zoo in first if not zoo.is_converted or place(zoo.path).exists()][:1]:
            files.link_or_copy(own_file(place(zoo.path), zoo.path), place(new))
    return next((zoo.images_digest for zoo in first if zoo.images_digest), None)


def others_of(zoos: Iterable[OpenZoo]) -> list[str]:
    """The columns that their tables of states have beside those that all have."""
    return [tables.KEPT, *dict.fromkeys(key for zoo in zoos for key in zoo.states if key not in tables.STATE_TYPES)]


def as_in_tables(model: Model, records: Sequence[Record], others: Sequence[str]) -> list[Record]:
    """The records with what the table of states says: which states are kept, the numbers in its columns `others`, and
    of divergence, of which that of version 0.1.0 saw more than the record."""
    states = model.zoo.states
    own = states[states["id"] == model.id].drop(columns="id")
    kept = {row["epoch"]: row for row in own.to_dict("records")}
    unknown = dict.fromkeys(others)
    return [
        {**unknown, **record, **known(kept[epoch], ("diverged", *others)), tables.KEPT: True}
        if epoch in kept
        else {**unknown, **record, tables.KEPT: False}
        for epoch, record in enumerate(records)
    ]


def known(row: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """What a row of a table says."""
    return {key: row[key] for key in keys if key in row and row[key] == row[key]}


def take_run(model: Model, records: Sequence[Record], copy: Path, is_compact: bool) -> None:
    """Put the files of a run into the folder `copy`; into a compact zoo only those that a compact one has."""
    runs, node = model.zoo.runs, model.node
    for place in places_of(len(records)):
        path = place(copy)
        if not runs.has(node, place):
            continue
        if isinstance(runs.store, RunArchive):
            write(path, runs.content(node, place))
        else:
            files.link_or_copy(own_file(place(runs.folder(node)), model.zoo.path), path)
    if isinstance(runs.store, RunArchive) and not is_compact:
        for record in records:
            path = paths.checkpoint(copy, record["training_iteration"])
            if not path.exists() and runs.has_checkpoint(node, record):
                write(path, runs.checkpoint(node, record))


def places_of(epochs: int) -> list[Place]:
    """What a run with so many records has in a zoo."""
    known: list[Place] = [paths.params, paths.result, paths.environment]
    return [*known, *map(checkpoint_at, range(epochs)), optimizer_at(epochs - 1)]


def write(path: Path, content: bytes) -> None:
    """The folder that it is in takes its place when all is there: until then nothing need survive a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

"""A zoo of the models of several."""

import ast
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from zoo.curation.gather import Model, config_of, origin, put_together, require_apart
from zoo.curation.open_zoo import OpenZoo
from zoo.data.images import SPLITS, Images
from zoo.disk import files, paths
from zoo.disk.folders import require_new
from zoo.errors import ZooError
from zoo.foreign.known import CLASSES
from zoo.foreign.released import TYPES, was_trained_here
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.model_source import parsed
from zoo.format.node_table import Row
from zoo.format.reading import json_object
from zoo.node.node import canonical, without
from zoo.publication.make import make_zoo
from zoo.sweep.manifest import distinct, is_shared, spans_training, with_train_metrics

EPOCHS = "trainer.max_epochs"


def merge(folders: Sequence[Path], into: Path) -> dict[str, Any]:
    """Make the zoo `into` of the models of all these zoos; return its summary.

    Raises ZooError if the zoos have other architectures, images or protocols, a model that several have is not the same
    in all of them, or `into` is there. Models of a zoo that trained for fewer epochs are unfinished in it.
    """
    require_new(into, "--into")
    require_apart(into, folders)
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise ZooError("give two zoos or more, each once")
    zoos = [OpenZoo.of(folder) for folder in folders]
    architecture = common_architecture(zoos)
    require_same_images(zoos)
    require_one_source(zoos)
    models = common_models(zoos)
    epochs = max(zoo.max_epochs for zoo in zoos)
    rows = common_rows(zoos, models, epochs)
    provenance = {"merged_from": [origin(zoo) for zoo in zoos]}
    config = config_of(into.resolve().name, rows, zoos, provenance)

    def fill(new: Path) -> dict[str, str]:
        put_together(new, list(models.values()), rows, config, architecture)
        return {node: reason for node, reason in reasons(zoos).items() if node in rows and node not in models}

    with files.storage_errors():
        return make_zoo(into, fill)


def common_architecture(zoos: Sequence[OpenZoo]) -> Architecture:
    """With the variants of all of them."""
    first, *others = zoos
    architecture = copy.deepcopy(first.architecture)
    for zoo in others:
        try:
            if class_of(zoo) != class_of(first):
                raise ValueError(f"its models are of the class {zoo.architecture.model}, not {architecture.model}")
            architecture.add_variants(zoo.architecture)
        except ValueError as error:
            raise ZooError(f"{zoo.path} can't be merged with {first.path}: {error}") from error
    return architecture


def class_of(zoo: OpenZoo) -> str:
    """The class of its models, by its name here: the zoos of 2022 called some otherwise."""
    name = zoo.architecture.model
    return CLASSES[TYPES[name]].rpartition(".")[2] if name in TYPES else name


def require_same_images(zoos: Sequence[OpenZoo]) -> None:
    """Raise ZooError unless all have the same, or none has any."""
    first, *others = zoos
    for zoo in others:
        if zoo.images_digest != first.images_digest and not are_same_but_for_names(zoo, first):
            raise ZooError(f"{paths.images(zoo.path)} has other images than {paths.images(first.path)}")


def are_same_but_for_names(zoo: OpenZoo, other: OpenZoo) -> bool:
    """Whether zoos have the same tensors of images, one of which came from elsewhere: without names or moments."""
    if not (zoo.is_converted or other.is_converted) or None in (zoo.images_digest, other.images_digest):
        return False
    pairs = zip(tensors_of(zoo.images()), tensors_of(other.images()), strict=True)
    return all(torch.equal(own, its) for own, its in pairs)


def tensors_of(images: Images) -> list[torch.Tensor]:
    return [tensor for name in SPLITS for tensor in (getattr(images, name).images, getattr(images, name).labels)]


def require_one_source(zoos: Sequence[OpenZoo]) -> None:
    """Raise ZooError if what model.py of two zoos define by the same name is not the same code.

    Another version of a file can define more than one before: the same models would come of either.
    """
    first, *others = zoos
    if all(zoo.is_converted and not paths.model_source(zoo.path).exists() for zoo in zoos):
        return
    known = definitions(paths.model_source(first.path))
    for zoo in others:
        path = paths.model_source(zoo.path)
        for name, code in definitions(path).items():
            if known.get(name, code) != code:
                raise ZooError(f"{path} defines {name} otherwise than {paths.model_source(first.path)} does")


def definitions(path: Path) -> dict[str, str]:
    """What a file of code defines at its top: the code of each name, without comments and docstrings."""
    tree = parsed(path.read_text(encoding="utf-8", errors="replace")) if path.is_file() else None
    if tree is None:
        raise ZooError(f"{path} is missing or no Python source")
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = ast.dump(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found[ast.unparse(node).partition("=")[0].strip()] = ast.dump(node)
    return found


def common_models(zoos: Sequence[OpenZoo]) -> dict[str, Model]:
    """Every model once, by its node; of one that several zoos have, the one that was trained longest."""
    found: dict[str, Model] = {}
    for zoo in zoos:
        for id, node in enumerate(zoo.nodes):
            model = Model.of(zoo, id)
            if node in found:
                if difference := differing(found[node], model):
                    raise ZooError(f"{node} is not the same in {found[node].zoo.path} and {zoo.path}: {difference}")
                if epochs_of(found[node]) >= epochs_of(model):
                    continue
            found[node] = model
    return found


def epochs_of(model: Model) -> int:
    return int(model.zoo.models["last_epoch"].iloc[model.id])


def differing(model: Model, other: Model) -> str | None:
    """What is not the same in two models of one name, up to the last epoch that both have; None if nothing is."""
    if identity(model) != identity(other):
        return "its params.json has other values"
    epochs = min(epochs_of(model), epochs_of(other)) + 1
    own, its = (each.zoo.weights.model(each.id)[:epochs].view(torch.int32) for each in (model, other))
    if (wrong := (own != its).any(dim=1)).any():
        return f"its weights at epoch {int(wrong.nonzero()[0])} are others"
    keys = [*tables.LOSSES_AND_ACCURACIES, "diverged"]
    for epoch, pair in enumerate(zip(model.records[:epochs], other.records[:epochs], strict=True)):
        if wrong_keys := [key for key in keys if pair[0][key] != pair[1][key]]:
            return f"its {wrong_keys[0]} at epoch {epoch} is {pair[0][wrong_keys[0]]} and {pair[1][wrong_keys[0]]}"
    return None


def identity(model: Model) -> Any:
    """The values of its params.json but for how long it was to be trained; of others, all that these say of it."""
    if not was_trained_here(model.params):
        return canonical(model.params)
    return canonical(without(with_train_metrics(model.params["config"]), [["trainer", "max_epochs"]]))


def common_rows(zoos: Sequence[OpenZoo], models: Mapping[str, Model], epochs: int) -> dict[str, Row]:
    """The values of every node, also of those that no zoo has a model of.

    Raises ZooError if they are of several protocols, or models of a zoo that was trained for fewer epochs were finished
    by a schedule: these can't go on.
    """
    if len({paths.nodes(zoo.path).exists() for zoo in zoos}) > 1:
        old = next(zoo.path for zoo in zoos if not paths.nodes(zoo.path).exists())
        raise ZooError(f"{old} is of version 0.1.0, which named models by other rules: merge it with others of it")
    rows: dict[str, Row] = {}
    for zoo in zoos:
        for node, row in {**zoo.rows, **{node: models[node].row for node in zoo.nodes}}.items():
            if row and zoo.max_epochs < epochs and node not in rows and spans(row, zoo.max_epochs):
                raise ZooError(
                    f"{zoo.path} trains to {zoo.max_epochs} epochs by a schedule that spans them all, and others to "
                    f"{epochs}: its models would count as unfinished"
                )
            if node not in rows or node in zoo.nodes:
                rows[node] = {**with_train_metrics(row), EPOCHS: epochs} if row else row
    for key, values in distinct(rows.values()).items():
        if is_shared(key) and len(values) > 1:
            raise ZooError(
                f"{', '.join(str(zoo.path) for zoo in zoos)} have models of different {key} "
                f"({', '.join(map(str, values))}): a zoo has one protocol"
            )
    return rows


def spans(row: Row, epochs: int) -> bool:
    """Whether training for so many epochs followed a schedule that spans them all; of others that is not known."""
    return {"data.train", "batch_size"} <= row.keys() and spans_training({**row, EPOCHS: epochs})


def reasons(zoos: Sequence[OpenZoo]) -> dict[str, str]:
    """Why nodes have no model, by what the zoos say of it."""
    found = {node: tables.UNTRAINED for zoo in zoos for node in zoo.rows}
    for zoo in zoos:
        path = paths.summary(zoo.path)
        missing = json_object(path).get("missing", {}) if path.exists() else {}
        found |= {node: reason for node, reason in missing.items() if isinstance(reason, str)} if missing else {}
    return found

"""Sweeps that don't describe their models, as those of version 0.1.0: the class is looked for where code is installed.

A sweep can come from anyone. So what its params.json names is looked up as text first: it must be a class in a file
outside the sweep, and then a torch.nn.Module. Nothing else is imported, and nothing but its constructor is called.
"""

import ast
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.collation.runs import Params
from zoo.disk.modules import file_of
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.model_source import arguments, defines, imported, parsed, standalone

AGAIN = "Or run the command that trained the sweep once more: it writes what is missing"
LISTED = 10  # names of nodes in an error


def describe(sweep: Path, nodes: Sequence[Params]) -> tuple[Architecture, str]:
    """The architecture of a sweep's models, and the source of their class as it is today.

    Raises ZooError if the nodes have no such class, or their models no common architecture.
    """
    targets = sorted({str(node["config"]["model"].get("_target_")) for node in nodes})
    if len(targets) > 1:
        raise ZooError(f"a zoo has models of one class, but the sweep has {' and '.join(targets)}")
    model, source = find_class(targets[0], sweep)
    return common_architecture(sweep, model, nodes), source


def find_class(target: str, sweep: Path) -> tuple[type[nn.Module], str]:
    """The class `target`, and the source of its file, made to stand alone."""
    module, _, name = target.rpartition(".")
    file = file_of(module)
    text = "" if file is None or came_with(sweep, file, module) else file.read_text(encoding="utf-8", errors="replace")
    if file is None or not defines_class(text, name):
        raise ZooError(
            f"the runs of {sweep} name {target} as their model, which is no nn.Module class in a file on PYTHONPATH. "
            f"Put the folder of its file there. {AGAIN}"
        )
    source = standalone(file, text, name)
    model = imported(target)
    if not (isinstance(model, type) and issubclass(model, nn.Module)):
        raise ZooError(f"the runs of {sweep} name {target} as their model, which is no nn.Module class. {AGAIN}")
    return model, source


def came_with(sweep: Path, file: Path, module: str) -> bool:
    """Whether a module's file may be as little trusted as the sweep: lies in it, or in the folder that it lies in.

    Other than in a sweep itself, a folder that is on PYTHONPATH is the user's own.
    """
    inside, sweeps = sweep.resolve(), sweep.resolve().parent
    root = file.parents[module.count(".") + (file.name == "__init__.py")]
    beside = sweeps if not root.resolve().is_relative_to(sweeps) else inside
    return any(path.is_relative_to(folder) for path in (file.absolute(), file.resolve()) for folder in (inside, beside))


def defines_class(text: str, name: str) -> bool:
    tree = parsed(text)
    return tree is not None and defines(tree, name, (ast.ClassDef,))


def common_architecture(sweep: Path, model: type[nn.Module], nodes: Sequence[Params]) -> Architecture:
    """Of all nodes, with their variants. Builds each distinct model once, without memory."""
    groups: list[tuple[Architecture, list[str]]] = []  # models of the same tensors, and whose they are
    known: dict[str, list[str]] = {}  # the group's nodes by the model's config
    for node in nodes:
        choice = json.dumps(node["config"]["model"])
        if choice not in known:
            known[choice] = join(groups, built(model, node))
        known[choice].append(node["node"])
    if len(groups) > 1:
        raise ZooError(mixed(sweep, groups))
    return groups[0][0]


def built(model: type[nn.Module], node: Params) -> Architecture:
    choice: Mapping[str, Any] = node["config"]["model"]
    try:
        with torch.device("meta"):
            return Architecture.of(model(**arguments(choice)))
    except Exception as error:  # the class is anyone's
        raise ZooError(f"the model of {node['node']} can't be built from its params.json: {error}") from error


def join(groups: list[tuple[Architecture, list[str]]], new: Architecture) -> list[str]:
    """Add a model to its group, or to a new one; returns the nodes of that."""
    for architecture, names in groups:
        if architecture.tensors == new.tensors:
            architecture.add_variants(new)
            return names
    groups.append((new, []))
    return groups[-1][1]


def mixed(sweep: Path, groups: Sequence[tuple[Architecture, list[str]]]) -> str:
    """What to do about models of different tensors: keep those of the largest group."""
    (most, kept), *others = sorted(groups, key=lambda group: -len(group[1]))
    names = [name for _, group in others for name in group]
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    command = shlex.join(["python", "-m", "zoo", "drop", str(sweep), *names[:LISTED]])
    return (
        f"{names[0]} can't be in one zoo with {kept[0]}: {most.difference(others[0][0])}. {sweep} holds models of "
        f"{len(groups)} architectures, and a zoo has one. Drop the others: `{command}`{more}"
    )

"""architecture.json and model.py: a sweep's models, described while their code is at hand. Reading then needs none."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.model_source import arguments, imported, is_model_source, model_source
from zoo.node.node import Node


@dataclass(frozen=True)
class Description:
    """What the models of a sweep have in common, and the file that defines their class."""

    architecture: Architecture
    source: str

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Self:
        """Of the nodes of one sweep. Builds each distinct model once, without memory.

        Raises ZooError if they are no zoo: models of different classes or tensors, or of code that can't stand alone.
        """
        choices = list({json.dumps(node.config["model"]): node.config["model"] for node in nodes}.values())
        first = choices[0]
        source = model_source(first["_target_"])
        architecture = described(first)
        for choice in choices[1:]:
            if choice["_target_"] != first["_target_"]:
                raise ZooError(
                    f"a zoo has models of one class, but these are of {first['_target_']} and {choice['_target_']}: "
                    "choose another zoo.name for either"
                )
            try:
                architecture.add_variants(described(choice))
            except ValueError as error:
                raise ZooError(
                    f"a model of {differing(choice, first)} can't be in one zoo with one of "
                    f"{differing(first, choice)}: {error}. A zoo has one architecture: choose another zoo.name for it"
                ) from error
        return cls(architecture, source)

    def joined(self, sweep: Path) -> Self:
        """The same with what the sweep has already. Its model.py stays: that file is what its models are made of.

        Raises ZooError if the sweep's models have other tensors. What a power cut left damaged there is made anew.
        """
        return replace(self, architecture=self.with_variants_of(sweep), source=kept_source(sweep) or self.source)

    def with_variants_of(self, sweep: Path) -> Architecture:
        path = paths.architecture(sweep)
        try:
            there = Architecture.load(path)
        except ZooError:  # missing or damaged
            return self.architecture
        try:
            there.add_variants(self.architecture)
        except ValueError as error:
            raise ZooError(
                f"a model can't join those in {sweep}: {error}. A zoo has one architecture: choose another zoo.name "
                "for it"
            ) from error
        return there

    def write(self, sweep: Path) -> None:
        self.architecture.save(paths.architecture(sweep))
        files.write_text(paths.model_source(sweep), self.source)


def described(choice: Mapping[str, Any]) -> Architecture:
    """The architecture of a choice of `model`, as the function `build` of a model.py makes it."""
    if special := [key for key, value in choice.items() if key == "_args_" or has_target(value)]:
        raise ZooError(
            f"model.{special[0]} is no plain value, but those are all that a zoo's model.py calls the class with, each "
            "by its name: let the class itself make of a name or a number what it needs"
        )
    try:
        with torch.device("meta"):
            model = imported(choice["_target_"])(**arguments(choice))
            if not isinstance(model, nn.Module):
                raise TypeError(f"{choice['_target_']} makes a {type(model).__name__}, not a torch.nn.Module")
            return Architecture.of(model)
    except ZooError:
        raise
    except Exception as error:  # the class is anyone's
        raise ZooError(f"model={choice['name']} can't be described: {error}") from error


def has_target(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(has_target, value.values()))
    return isinstance(value, list) and any(map(has_target, value))


def differing(choice: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The values of a choice that another doesn't have."""
    own = {key: value for key, value in choice.items() if key not in other or other[key] != value}
    return " ".join(f"model.{key}={value}" for key, value in own.items()) or f"model={choice['name']}"


def kept_source(sweep: Path) -> str | None:
    """The sweep's model.py, if there is a whole one."""
    try:
        text = paths.model_source(sweep).read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return text if is_model_source(text) else None

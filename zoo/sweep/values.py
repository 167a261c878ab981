"""Values that no class checks when it is built: what there must be, numbers in their range, names of folders."""

import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from zoo.errors import ZooError
from zoo.format.train_metrics import CHOICES
from zoo.installation import CONF
from zoo.node.node import MAX_NAME
from zoo.run.engine import ENGINES

GROUPS = ("data", "model", "init", "optim", "schedule", "augmentation", "trainer", "zoo")
NAMED = ("data", "model", "init", "optim")
MAX_SEED = 2**64 - 1  # PyTorch's


def check_config(config: Mapping[str, Any]) -> None:
    """Raise ZooError for what would fail, or train nothing sensible, whatever the choices are."""
    for group in GROUPS:
        if not isinstance(config.get(group), Mapping):
            raise ZooError(f"{group}={config.get(group)}: the config must have this group")
    for group in NAMED:
        if "name" not in config[group]:
            raise ZooError(f"the YAML file of this {group} has no `name`: give it one, which the models' names show")
    if config.get("immaterial") != immaterial():
        raise ZooError(
            "immaterial: what is no part of a model's name is the same for all sweeps, and can't be given in a command"
        )
    if config["engine"] not in ENGINES:
        raise ZooError(f"unknown engine={config['engine']}: choose from {', '.join(ENGINES)}")
    if config["train_metrics"] not in CHOICES:
        raise ZooError(f"unknown train_metrics={config['train_metrics']}: choose from {', '.join(CHOICES)}")
    name = config["zoo"].get("name")
    if not isinstance(name, str | int) or not re.fullmatch(r"[\w.+-]*\w[\w.+-]*", str(name)):
        raise ZooError(f"zoo.name={name}: must be a folder's name, of letters, digits and _.+-")
    if len(str(name)) > MAX_NAME:
        raise ZooError(f"zoo.name={name}: must not be longer than {MAX_NAME} characters")
    if not isinstance(config["sweeps"], str):
        raise ZooError(f"sweeps={config['sweeps']}: must be a folder")
    for key, value, least in (
        ("seed", config["seed"], 0),
        ("batch_size", config["batch_size"], 1),
        ("trainer.max_epochs", config["trainer"]["max_epochs"], 1),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ZooError(f"{key}={value}: must be a whole number, {least} or more")
    if config["seed"] > MAX_SEED:
        raise ZooError(f"seed={config['seed']}: must not be greater than {MAX_SEED}")


@cache
def immaterial() -> list[str]:
    """The keys that are no part of a node's identity, as conf/train.yaml has them."""
    return list(OmegaConf.select(OmegaConf.load(CONF / "train.yaml"), "immaterial"))


def check_choice(group: str, choice: Mapping[str, Any]) -> None:
    """Raise ZooError for a number in a choice that isn't finite, and for a dropout rate that leaves nothing."""
    for key, value in numbers(group, choice):
        if not math.isfinite(value):
            raise ZooError(f"{key}={value}: must be a finite number")
        if key == "model.dropout" and not 0 <= value < 1:
            raise ZooError(f"{key}={value}: dropout probability has to be between 0 and 1, and less than 1")


def numbers(key: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for inner, item in value.items():
            yield from numbers(f"{key}.{inner}", item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(key, item)
    elif isinstance(value, int | float):
        yield key, value

"""What a sweep's config.json says, as far as a zoo is made of it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.collation.reading import json_object, own_file, reading
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.reading import is_plain_name
from zoo.format.train_metrics import CHOICES, UNKNOWN, train_metrics
from zoo.installation import command

MOST_EPOCHS = 999_999  # the names of checkpoints have six digits

# What the documents of a zoo take from the protocol, and of which type it is.
PROTOCOL: dict[str, type] = {
    **dict.fromkeys(["data", "model"], str),
    **dict.fromkeys(["data.train", "data.val", "data.test", "data.channels", "data.classes"], int),
    "trainer.max_epochs": int,
}

# What is known of these of models that were trained elsewhere.
OF_ANYONE = ("model", "trainer.max_epochs")

# What a sweep gives to a zoo as it is, where it is there.
COPIED = (paths.config, paths.nodes, paths.old_nodes)


def read_config(sweep: Path) -> tuple[list[str], int]:
    """A sweep's generating factors, and its number of epochs.

    Raises ZooError if it is no sweep, or if any of its own files is a link to elsewhere.
    """
    for path in (paths.config(sweep), paths.images(sweep)):
        if not os.path.lexists(path):
            raise ZooError(f"{sweep} is no sweep to collate: it has no {path.name}. Make it by `{command('train')}`")
    for name in (*COPIED, paths.images, paths.architecture, paths.model_source):
        if os.path.lexists(name(sweep)):
            with reading(name(sweep)):
                own_file(name(sweep), sweep)
    with reading(paths.config(sweep)):
        config = json_object(paths.config(sweep))
        if fault := fault_of_config(config):
            raise ValueError(fault)
        return list(config["search_pattern"]), config["protocol"]["trainer.max_epochs"]


def fault_of_config(config: Mapping[str, Any], elsewhere: bool = False) -> str | None:
    """Why no zoo can be made of what config.json says, if so. `elsewhere`: who trained may not have said everything."""
    pattern, protocol = config["search_pattern"], config["protocol"]
    if not isinstance(pattern, dict) or not all(isinstance(values, list) for values in pattern.values()):
        return "`search_pattern` is no object of lists"
    if wrong := [key for key in pattern if key in tables.RESERVED or not is_plain_name(key)]:
        return f"a factor can't be called {wrong[0]!r}"
    required = OF_ANYONE if elsewhere else (*PROTOCOL, "data.size")
    if lacking := [key for key in required if key not in protocol]:
        return f"its protocol lacks {lacking[0]}"
    if wrong := [key for key, kind in PROTOCOL.items() if key in protocol and type(protocol[key]) is not kind]:
        return f"{wrong[0]} is {protocol[wrong[0]]!r}"
    if not 0 < protocol["trainer.max_epochs"] <= MOST_EPOCHS:
        return f"trainer.max_epochs is {protocol['trainer.max_epochs']}"
    if train_metrics(protocol) not in (*CHOICES, *[UNKNOWN] * elsewhere):
        return f"train_metrics is {protocol['train_metrics']!r}"
    if (size := protocol.get("data.size")) is not None and type(size) is not int:
        return f"data.size is {size!r}"
    return None

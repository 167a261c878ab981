"""`init=from_zoo`: a node whose training goes on from a state of a zoo.

Its config is completed when it is composed: the model by its node's name, the epoch by its number, and below the keys
that one types what follows from the zoo. So the node's identity is the state itself, wherever the zoo lies.
"""

import fnmatch
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.format.reading import damaged

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.node.node import Node
    from zoo.node.parent_zoo import ParentZoo

FROM_ZOO = "from_zoo"

# What follows from the zoo, and is part of the identity: the sha256 of the state's vector, and where the optimizer goes
# on, that of its file, and how many epochs and steps were trained before, by which random streams and steps count on.
STATE, OPTIMIZER, EPOCHS, STEPS = "_state_sha256", "_optimizer_sha256", "_epochs", "_steps"
NOTED = "_noted"  # what is no part of it

CHANGEABLE = ("name", "lr", "weight_decay")  # of an optimizer that goes on
ZIP = ".zip"
PATTERN = "*"  # in what is typed for init.model, it stands for several


def is_from_zoo(config: Mapping[str, Any]) -> bool:
    init = config.get("init")
    return isinstance(init, Mapping) and init.get("name") == FROM_ZOO


def with_parent(config: dict[str, Any]) -> dict[str, Any]:
    """A plain config as composed, completed by what follows from the zoo that it starts from, if it does.

    Raises ZooError if that has no such state.
    """
    return {**config, "init": completed(config)} if is_from_zoo(config) else config


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    init = config["init"]
    zoo, id = parent_of(init)
    epoch = zoo.last_epochs[id] if init["epoch"] is None else init["epoch"]
    state = digest(zoo.state(id, epoch))
    optimizer, why_fresh = optimizer_of(config, zoo, id, epoch)
    noted = {"checksums": zoo.checksums, "fresh_optimizer": why_fresh}
    return {**init, "model": zoo.nodes[id], "epoch": epoch, STATE: state, **optimizer, NOTED: noted}


def parent_of(init: Mapping[str, Any]) -> tuple["ParentZoo", int]:
    """The zoo that a choice of `init` names, and the id of its model there."""
    from zoo.node.parent_zoo import opened  # PyTorch takes seconds to import, and --help has no use for it

    others = "all other inits are init=glob(*,exclude=from_zoo)"  # of which a grid is often
    for key, what in (("zoo", f"a zoo; {others}"), ("model", "a node of it, or an id")):
        if init.get(key) in (None, "???"):
            raise ZooError(f"init=from_zoo: give init.{key}, {what}")
    zoo = opened(Path(str(init["zoo"])))
    return zoo, zoo.id_of(init["model"])


def digest(vector: "Tensor") -> str:
    from zoo.disk.files import sha256

    return sha256(vector.numpy().tobytes())


def optimizer_of(config: Mapping[str, Any], zoo: "ParentZoo", id: int, epoch: int) -> tuple[dict[str, Any], str | None]:
    """The keys of `init` that say whether the optimizer goes on; and if it can't, though it should, why."""
    wanted = config["init"]["optimizer"]
    if not isinstance(wanted, bool):
        raise ZooError(f"init.optimizer={wanted}: must be true or false")
    if not wanted:
        return {"optimizer": False}, None
    content = zoo.optimizer(id, epoch)
    if content is None:
        return {"optimizer": False}, f"{zoo.path} keeps {zoo.optimizers}"
    trained = trained_here if zoo.is_trained_here(id) else trained_elsewhere
    before = trained(config["optim"], zoo, id, epoch)
    if before is None:
        return {"optimizer": False}, f"it is not the one that {zoo.path} was trained by, but for optim.lr and such"
    from zoo.disk.files import sha256

    epochs, steps = before
    return {"optimizer": True, OPTIMIZER: sha256(content), EPOCHS: epochs, STEPS: steps}, None


def trained_here(optim: Mapping[str, Any], zoo: "ParentZoo", id: int, epoch: int) -> tuple[int, int] | None:
    """How many epochs and steps an optimizer was trained up to an epoch; None if it is not like `optim`."""
    params = zoo.params(id)
    try:
        parents, init = params["config"]["optim"], params["config"]["init"]
        same = unchangeable(parents) == unchangeable(optim)
        epochs, steps = (int(init.get(key, 0)) for key in (EPOCHS, STEPS))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(zoo.path / zoo.nodes[id], error) from error
    return (epochs + epoch, steps + epoch * zoo.steps_per_epoch(id)) if same else None


def trained_elsewhere(optim: Mapping[str, Any], zoo: "ParentZoo", id: int, epoch: int) -> tuple[int, int] | None:
    """The same where params.json says little, and the optimizer's own file more. Raises ZooError if it is none."""
    saved, params = zoo.saved_optimizer(id, epoch), zoo.params(id)
    saved.state(zoo.parameter_shapes)
    said = {key.removeprefix("optim."): params[key] for key in params if key.startswith("optim.")}
    same = params.get("optim") == optim["name"] and unchangeable(said).items() <= unchangeable(optim).items()
    return (epoch, saved.steps) if same and saved.is_of(optim) else None


def unchangeable(optim: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in optim.items() if key not in CHANGEABLE}


def parent_state(config: Mapping[str, Any]) -> "Tensor":
    """The vector that training starts from. Raises ZooError if the zoo has gone, or has another there now."""
    init = config["init"]
    zoo, id = parent_of(init)
    vector = zoo.state(id, init["epoch"])
    if digest(vector) != init[STATE]:
        raise ZooError(
            f"init.zoo={zoo.path}: the state of {init['model']} at epoch {init['epoch']} is not what it was when the "
            "command began. Give the command again"
        )
    return vector


def parent_optimizer(config: Mapping[str, Any]) -> dict[int, Any] | None:
    """What the optimizer goes on from, as PyTorch's optimizers keep it; None if it is a fresh one."""
    init = config["init"]
    if OPTIMIZER not in init:
        return None
    zoo, id = parent_of(init)
    return zoo.optimizer_state(id, init["epoch"], init[OPTIMIZER])


def epochs_before(config: Mapping[str, Any]) -> int:
    """How many epochs an optimizer that goes on was trained before: random streams count on from there."""
    return config["init"].get(EPOCHS, 0)


def steps_before(config: Mapping[str, Any]) -> int:
    """How many steps an optimizer that goes on made before."""
    return config["init"].get(STEPS, 0)


def lineage(config: Mapping[str, Any]) -> dict[str, Any]:
    """What params.json has of the state that a node starts from: {"parent": ...}, or nothing."""
    init = config["init"]
    if not is_from_zoo(config) or NOTED not in init:
        return {}
    return {
        "parent": {
            "zoo": zoo_name(Path(init["zoo"])),
            "path": str(init["zoo"]),
            "checksums_sha256": init[NOTED]["checksums"],
            "node": init["model"],
            "epoch": init["epoch"],
            "state_sha256": init[STATE],
            "optimizer_sha256": init.get(OPTIMIZER),
        }
    }


def zoo_name(path: Path) -> str:
    """Of a zoo's folder, or of a zip file of one."""
    return path.resolve().name.removesuffix(ZIP)


def notice(nodes: Sequence["Node"]) -> str | None:
    """What to tell of optimizers that should go on and can't; None if there is nothing."""
    noted = [node.config["init"].get(NOTED, {}) for node in nodes]
    reasons = Counter(found["fresh_optimizer"] for found in noted if found.get("fresh_optimizer"))
    lines = [f"{count} of {len(nodes)} models start with a fresh optimizer: {why}" for why, count in reasons.items()]
    return "\n".join(lines) or None


def with_all_models(overrides: Iterable[str]) -> list[str]:
    """Overrides as typed; a pattern for init.model becomes the ids of the nodes that it fits to.

    Raises ZooError if there is none, or no zoo.
    """
    typed = dict(override.split("=", 1) for override in overrides if "=" in override)
    pattern = typed.get("init.model", "")
    if PATTERN not in pattern:
        return list(overrides)
    from zoo.node.parent_zoo import opened

    zoo = opened(Path(typed.get("init.zoo", "").strip("'\"") or "."))
    fitting = fnmatch.filter(zoo.nodes, pattern.strip("'\""))
    if not fitting:
        raise ZooError(f"init.model={pattern}: fits to no node of {zoo.path}")
    ids = ",".join(str(zoo.ids[node]) for node in fitting)
    return [f"init.model={ids}" if override.startswith("init.model=") else override for override in overrides]

"""A node: one point of the grid, its values, and the name that follows from them alone."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo.random import distinct_seed

GROUPS = ("data", "model", "init", "optim", "schedule", "augmentation")

# What says where and how to work, not what is trained.
NOT_TRAINED = {
    "": ("hydra", "sweeps", "zoo", "draw", "engine", "stop_diverged"),
    "data": ("root", "download", "cache", "source"),
}

# What random seeds follow from: the factors of the published zoos, and what they were trained on.
SEED_FACTORS = (
    *("data.name", "model.name", "init.name", "model.activation", "model.dropout"),
    *("optim.name", "optim.lr", "optim.weight_decay"),
)

RELEASED_TYPES = {"cnn_small": "CNN", "cnn_large": "CNN3", "resnet18": "Resnet18"}
RELEASED_NAMES = {"leaky_relu": "leakyrelu", "rmsprop": "rms_prop"}


def values(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a plain config that decides what is trained.

    Two configs train the same model if and only if their values are equal. Of `trainer` only max_epochs counts.
    """
    node = {key: value for key, value in config.items() if key not in NOT_TRAINED[""]}
    node["data"] = {key: value for key, value in node["data"].items() if key not in NOT_TRAINED["data"]}
    node["trainer"] = {"max_epochs": node["trainer"]["max_epochs"]}
    return node


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


def name(node: Mapping[str, Any]) -> str:
    """The run directory's name: the values one most often varies, then a hash of all of them, defaults included."""
    digest = hashlib.sha256(json.dumps(canonical(node)).encode()).hexdigest()[:10]
    model, optim = node["model"], node["optim"]
    parts = [model.get("activation"), node["init"]["name"], optim["name"], f"lr{optim['lr']:g}"]
    parts += [f"wd{optim['weight_decay']:g}"]
    parts += [f"dropout{model['dropout']:g}"] if "dropout" in model else []
    parts += [f"seed{node['seed']}", digest]
    return "_".join(part for part in parts if part)


def flat(node: Mapping[str, Any]) -> dict[str, Any]:
    """The values under the names one types: `init` and the other groups by name, `optim.lr` and the like by path.

    Hydra's own keys (`_target_`, `_partial_`) are left out: they follow from the groups' names.
    """
    out: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            if "name" in value:
                out[key] = value["name"]
            out |= {f"{key}.{inner}": v for inner, v in flat(value).items() if inner != "name"}
        elif not str(key).startswith("_"):
            out[str(key)] = value
    return out


def released(node: Mapping[str, Any]) -> dict[str, Any]:
    """The flat keys of the 2022 Model Zoos release, which tools written for those zoos read."""
    model, optim = node["model"], node["optim"]
    return {
        "model::type": RELEASED_TYPES.get(model["name"], model["name"]),
        "model::channels_in": node["data"]["channels"],
        "model::o_dim": node["data"]["classes"],
        "model::nlin": RELEASED_NAMES.get(model.get("activation"), model.get("activation", "relu")),
        "model::dropout": model.get("dropout", 0.0),
        "model::init_type": node["init"]["name"],
        "optim::optimizer": RELEASED_NAMES.get(optim["name"], optim["name"]),
        "optim::lr": optim["lr"],
        "optim::wd": optim["weight_decay"],
        "optim::momentum": optim.get("momentum", 0.9),
        "training::batchsize": node["batch_size"],
        "training::epochs_train": node["trainer"]["max_epochs"],
        "seed": node["seed"],
    }


def params(node: Mapping[str, Any]) -> dict[str, Any]:
    """What params.json holds: the values by the names one types, by the released names, and nested, as `config`."""
    return {"node": name(node)} | flat(node) | released(node) | {"config": dict(node)}


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed config as plain, resolved containers, without Hydra's own part."""
    keys = [key for key in config if key != "hydra"]
    return OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=True)


def random_seed(config: DictConfig) -> int:
    """The seed that `draw` counts among the random seeds of the node that the config's other factors make."""
    return distinct_seed(config["draw"], *(canonical(OmegaConf.select(config, key)) for key in SEED_FACTORS))


# `${node_name:}` is the name of the config it stands in, `${random_seed:}` a seed of its own for each of its draws
OmegaConf.register_new_resolver("node_name", lambda *, _root_: name(values(plain(_root_))), replace=True)
OmegaConf.register_new_resolver("random_seed", lambda *, _root_: random_seed(_root_), replace=True)

"""From Hydra's configs to plain ones, and what our configs may ask for, such as `${random_seed:}`."""

import difflib
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo.errors import ZooError
from zoo.installation import command
from zoo.node.from_zoo import parent_of, with_parent
from zoo.node.help import choices
from zoo.node.node import Node, canonical, without
from zoo.node.steps import total_steps
from zoo.random import distinct_seed

NEAREST = 8  # keys that an error names

# What random seeds follow from: the factors of the published zoos, and what they were trained on.
SEED_FACTORS = (
    *("data.name", "model.name", "init.name", "model.activation", "model.dropout"),
    *("optim.name", "optim.lr", "optim.weight_decay"),
)


def plain(config: DictConfig) -> dict[str, Any]:
    """A composed config as plain, resolved containers, without Hydra's own part; see also `with_parent`."""
    keys = [str(key) for key in config if key != "hydra"]
    return with_parent(containers(OmegaConf.masked_copy(config, keys), resolve=True))


def node_of(config: DictConfig, overrides: Sequence[str]) -> Node:
    """The node of a composed config, and what was typed for it."""
    return Node(plain(config), overrides, spans_epochs(config))


def spans_epochs(config: DictConfig) -> bool:
    """Whether more epochs would be another training: other values of the identity follow from trainer.max_epochs."""
    epochs, immaterial = OmegaConf.select(config, "trainer.max_epochs"), config.get("immaterial")
    if not isinstance(epochs, int) or not OmegaConf.is_list(immaterial):  # which is refused elsewhere
        return False
    longer = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    OmegaConf.update(longer, "trainer.max_epochs", epochs + 1)
    left_out = [["trainer", "max_epochs"], *(str(key).split(".") for key in immaterial)]
    now, then = (without(plain(one), left_out) for one in (config, longer))
    return canonical(now) != canonical(then)


def containers(config: DictConfig, resolve: bool = False) -> dict[str, Any]:
    """The config as plain containers."""
    found: Any = OmegaConf.to_container(config, resolve=resolve)
    return found


def random_seed(config: DictConfig) -> int:
    """The seed that `draw` counts among the random seeds of the node that the config's other factors make."""
    return distinct_seed(config["draw"], *(canonical(OmegaConf.select(config, key)) for key in SEED_FACTORS))


def parent_value(key: str, config: DictConfig) -> Any:
    """What the model that training starts from has for a key, such as `seed`. Raises ZooError if it has none."""
    zoo, id = parent_of(containers(config.init))
    values = {name: value for name, value in zoo.params(id).items() if not isinstance(value, dict) and "::" not in name}
    if key not in values:
        nearest = difflib.get_close_matches(key, values, n=NEAREST, cutoff=0)
        raise ZooError(f"${{parent:{key}}}: {zoo.nodes[id]} in {zoo.path} has no {key}. It has {', '.join(nearest)}")
    return values[key]


# `${parent:seed}`: the seed of the model that training starts from; `${random_seed:}`: a seed of its own for each of
# the draws of the config it stands in; `${total_steps:}`: how many optimizer steps its training has; `${choices:}`:
# what --help lists; `${typed:train}`: how that command is typed
OmegaConf.register_new_resolver("parent", lambda key, *, _root_: parent_value(key, _root_), replace=True)
OmegaConf.register_new_resolver("random_seed", lambda *, _root_: random_seed(_root_), replace=True)
OmegaConf.register_new_resolver("total_steps", lambda *, _root_: total_steps(_root_), replace=True)
OmegaConf.register_new_resolver("choices", choices, replace=True)
OmegaConf.register_new_resolver("typed", command, replace=True)

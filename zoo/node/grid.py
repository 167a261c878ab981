"""The grid: every node that a sweep's overrides stand for, composed fast."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from zoo.node.from_zoo import with_all_models, with_parent
from zoo.node.node import Node
from zoo.node.resolvers import containers, spans_epochs


class Grid:
    """The product of all values of all overrides, in the order in which Hydra's basic sweeper visits it.

    Composing a config takes Hydra some 50 ms, so that is done once for each combination of config groups; within
    one, single values are set, and what depends on them is resolved anew: a fraction of a millisecond a node.
    """

    def __init__(self, loader: ConfigLoader, config_name: str, overrides: Sequence[str]):
        """`overrides` as typed; of two for the same key, the later counts. Raises Hydra's errors where they are bad,
        and ZooError for a pattern of models that fits to none."""
        self.loader = loader
        self.config_name = config_name
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(with_all_models(overrides))
        # a later override of the same key replaces the earlier one: the command line, a preset's sweep
        self.overrides = list({override.get_key_element(): override for override in parsed}.values())
        for override in self.overrides:
            if override.is_sweep_override():
                if not override.is_discrete_sweep():
                    raise ConfigCompositionException(f"{override.input_line}: a grid takes choices or a range")
                if override.key_or_group == "zoo":
                    raise ConfigCompositionException(f"{override.input_line}: one preset a command")

    @property
    def factors(self) -> dict[str, list[str]]:
        """The generating factors of this command: each swept key with its values as typed."""
        return {o.get_key_element(): list(o.sweep_string_iterator()) for o in self.overrides if o.is_sweep_override()}

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many values each swept key has; of a range, without making them."""
        return {o.get_key_element(): count(o) for o in self.overrides if o.is_sweep_override()}

    def __len__(self) -> int:
        return math.prod(self.counts.values())

    def __iter__(self) -> Iterator[Node]:
        sets_value = [self.sets_value(override) for override in self.overrides]
        keys = [o.key_or_group for o, is_set in zip(self.overrides, sets_value, strict=True) if is_set]
        templates: dict[tuple[str, ...], Template] = {}
        for typed in itertools.product(*map(typed_values, self.overrides)):
            # all but the values that are just set decide which template serves this node
            composed = tuple(text for (text, _), is_set in zip(typed, sets_value, strict=True) if not is_set)
            overrides = [text for text, _ in typed]
            if composed not in templates:
                templates[composed] = Template(self.compose(overrides), keys)
            chosen = [value for (_, value), is_set in zip(typed, sets_value, strict=True) if is_set]
            template = templates[composed]
            yield Node(with_parent(template.fill(chosen)), overrides, template.spans_epochs)

    def sets_value(self, override: Override) -> bool:
        """Whether the override is swept and just sets a value, rather than choose a config or add a key."""
        if not override.is_sweep_override() or override.is_add() or override.is_force_add():
            return False
        return not self.loader.get_group_options(override.key_or_group)  # asked last: it reads folders

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        return self.loader.load_configuration(self.config_name, list(overrides), run_mode=RunMode.RUN)


class Template:
    """A composed config in which the same keys are set again and again."""

    def __init__(self, config: DictConfig, keys: Sequence[str]):
        self.keys = keys
        with open_dict(config):
            del config["hydra"]
        self.config = config
        self.plain = containers(config, resolve=True)
        self.spans_epochs = spans_epochs(config)
        self.dependent = dependents(leaves(containers(config)), keys)
        self.last: dict[str, Any] = {}  # what was last set in the config

    def fill(self, values: Sequence[Any]) -> dict[str, Any]:
        """The plain config with these values at the template's keys. It shares what stays the same with others."""
        chosen = dict(zip(self.keys, values, strict=True))
        interpolated = [key for key, value in chosen.items() if "${" in str(value)]
        if interpolated:
            self.spans_epochs = self.spans_epochs or any("epochs" in str(chosen[key]) for key in interpolated)
        if self.dependent or interpolated:
            # from node to node the last keys change most: setting a value costs more than all the rest
            for key, value in itertools.dropwhile(self.is_set, chosen.items()):
                OmegaConf.update(self.config, key, value)
            self.last = dict(chosen)
            for key in [*interpolated, *self.dependent]:
                value = OmegaConf.select(self.config, key)
                chosen[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        plain = dict(self.plain)
        copied: set[str] = set()
        for key, value in chosen.items():
            *steps, last = key.split(".")
            place, path = plain, ""
            for step in steps:
                path += f".{step}"
                if path not in copied:
                    place[step] = dict(place[step])
                    copied.add(path)
                place = place[step]
            place[last] = value
        return plain

    def is_set(self, item: tuple[str, Any]) -> bool:
        """Whether the config has this key's value already. 0, 0.0 and False are not the same."""
        key, value = item
        return key in self.last and repr(value) == repr(self.last[key])


def count(override: Override) -> int:
    value = override.value()
    numbers = value.range() if isinstance(value, RangeSweep) else None
    return len(numbers) if isinstance(numbers, range) else sum(1 for _ in override.sweep_string_iterator())


def typed_values(override: Override) -> list[tuple[str, Any]]:
    """An override's values, each as `key=value` was typed, and as it is parsed."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [(f"{key}={override.get_value_element_as_str()}", None)]
    texts = [f"{key}={text}" for text in override.sweep_string_iterator()]
    elements = list(override.sweep_iterator())
    parser = OverridesParser.create()
    return [
        # parsing a text costs as much as all the rest of a node, and numbers, the long lists, need none
        (text, element if isinstance(element, int | float) else parser.parse_override(text).value())
        for text, element in zip(texts, elements, strict=True)
    ]


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that holds no mapping, by its whole path, and its value."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def dependents(config: Iterable[tuple[str, Any]], keys: Sequence[str]) -> list[str]:
    """Which leaves of an unresolved config may change with `keys`: those that refer to them, also by way of others.

    A resolver, or a reference relative to its place, may refer to anything.
    """
    texts = {key: str(value) for key, value in config if "${" in str(value)}
    changing = set(keys)
    found: list[str] = []
    while new := [key for key, text in texts.items() if key not in found and refers(text, changing)]:
        found += new
        changing |= set(new)
    return found


def refers(text: str, keys: set[str]) -> bool:
    references = re.findall(r"\$\{([^${}]*)", text)
    return any(
        not re.fullmatch(r"\w+(\.\w+)*", reference)
        or any(f"{key}.".startswith(f"{reference}.") or f"{reference}.".startswith(f"{key}.") for key in keys)
        for reference in references
    )

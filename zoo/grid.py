"""The grid: every node that a sweep's overrides stand for, composed fast."""

import copy
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from zoo import node as nodes

CONF = Path(__file__).parent.parent / "conf"


@dataclass(frozen=True)
class Point:
    """A point of the grid: what was typed for it, and the complete config it makes (plain, resolved)."""

    overrides: list[str]
    config: dict[str, Any]

    @property
    def sweep(self) -> Path:
        return Path(self.config["sweeps"]) / self.config["zoo"]["name"]

    @property
    def run(self) -> Path:
        return self.sweep / nodes.name(nodes.values(self.config))


class Grid:
    """The product of all values of all overrides, in the order in which Hydra's basic sweeper visits it.

    Composing a config takes Hydra some 50 ms, so that is done once for each combination of config groups; within
    one, single values are set, and what interpolates is resolved anew: under a millisecond a node.
    """

    def __init__(self, loader: ConfigLoader, config_name: str, overrides: Sequence[str]):
        """`overrides` as typed; of two for the same key, the later counts. Raises Hydra's errors where they are bad."""
        self.loader = loader
        self.config_name = config_name
        parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
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
        return {o.get_key_element(): values(o) for o in self.overrides if o.is_sweep_override()}

    def __len__(self) -> int:
        length = 1
        for choices in self.factors.values():
            length *= len(choices)
        return length

    def __iter__(self) -> Iterator[Point]:
        typed = [[f"{o.get_key_element()}={value}" for value in values(o)] for o in self.overrides]
        templates: dict[tuple[str, ...], Template] = {}
        quick = [self.is_quick(override) for override in self.overrides]
        for overrides in itertools.product(*typed):
            # everything but the quickly set values decides which template serves this point
            composed = tuple(text for text, is_quick in zip(overrides, quick, strict=True) if not is_quick)
            if composed not in templates:
                templates[composed] = Template(self.compose(overrides))
            chosen = [text for text, is_quick in zip(overrides, quick, strict=True) if is_quick]
            yield Point(list(overrides), templates[composed].fill(chosen))

    def is_quick(self, override: Override) -> bool:
        """Whether the override is swept and just sets a value, rather than choose a config or add a key."""
        is_plain = not (override.is_add() or override.is_force_add() or override.is_delete())
        is_group = bool(self.loader.get_group_options(override.key_or_group))
        return override.is_sweep_override() and is_plain and not is_group

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        return self.loader.load_configuration(self.config_name, list(overrides), run_mode=RunMode.RUN)


class Template:
    """A composed config in which values are set again and again."""

    def __init__(self, config: DictConfig):
        self.config = config
        del_hydra(config)
        self.plain = OmegaConf.to_container(config, resolve=True)
        self.interpolated = list(interpolated(OmegaConf.to_container(config, resolve=False)))
        self.parsed: dict[str, tuple[str, Any]] = {}

    def fill(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The plain config with these `key=value` set."""
        keys = []
        for text in overrides:
            if text not in self.parsed:
                override = OverridesParser.create().parse_override(text)
                self.parsed[text] = override.key_or_group, override.value()
            key, value = self.parsed[text]
            try:
                OmegaConf.update(self.config, key, value, merge=True)
            except (ConfigAttributeError, ConfigKeyError) as error:
                raise ConfigCompositionException(
                    f"Could not override '{key}'.\nTo append to your config use +{text}"
                ) from error
            keys.append(key)
        plain = copy.deepcopy(self.plain)
        for key in [*keys, *self.interpolated]:
            value = OmegaConf.select(self.config, key)
            place = plain
            *path, last = key.split(".")
            for step in path:
                place = place[step]
            place[last] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        return plain


def values(override: Override) -> list[str]:
    """An override's values, as typed."""
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    return [override.get_value_element_as_str()]


def del_hydra(config: DictConfig) -> None:
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    OmegaConf.set_struct(config, True)


def interpolated(config: Any, prefix: str = "") -> Iterator[str]:
    """The keys whose values are interpolations."""
    items = config.items() if isinstance(config, Mapping) else ()
    for key, value in items:
        if isinstance(value, str) and re.search(r"\$\{", value):
            yield f"{prefix}{key}"
        elif isinstance(value, Mapping):
            yield from interpolated(value, f"{prefix}{key}.")


def presets(loader: ConfigLoader) -> list[tuple[str, int, int, int]]:
    """Every preset of conf/zoo: its name, and how many nodes, models and epochs it has."""
    rows = []
    for preset in loader.get_group_options("zoo"):
        config = loader.load_configuration("train", [f"+zoo={preset}"], run_mode=RunMode.MULTIRUN)
        grid = Grid(loader, "train", [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()])
        repeats = math.prod(len(choices) for key, choices in grid.factors.items() if key in ("seed", "draw"))
        rows.append((preset, len(grid) // repeats, len(grid), config.trainer.max_epochs))
    return rows


def main() -> None:
    """Print the table of presets."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        rows = presets(GlobalHydra.instance().config_loader())
    print(f"{'preset':<28}{'nodes':>8}{'models':>8}{'epochs':>8}")
    for preset, count, models, epochs in rows:
        print(f"{preset:<28}{count:>8,}{models:>8,}{epochs:>8}")
    print(f"{f'{len(rows)} presets':<28}{sum(row[1] for row in rows):>8,}{sum(row[2] for row in rows):>8,}")


if __name__ == "__main__":
    main()

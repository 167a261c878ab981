"""The published zoos: the presets of conf/zoo."""

import argparse
import math

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from zoo.installation import CONF
from zoo.node.grid import Grid


def presets(loader: ConfigLoader) -> list[tuple[str, int, int, int]]:
    """Every preset of conf/zoo: its name, and how many nodes, models and epochs it has."""
    rows = []
    for preset in loader.get_group_options("zoo"):
        config = loader.load_configuration("train", [f"+zoo={preset}"], run_mode=RunMode.MULTIRUN)
        grid = Grid(loader, "train", [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()])
        repeats = math.prod(len(choices) for key, choices in grid.factors.items() if key in ("seed", "draw"))
        rows.append((preset, len(grid) // repeats, len(grid), config.trainer.max_epochs))
    return rows


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("presets", help="the published grids", description="The table of presets.")
    command.set_defaults(run=lambda arguments: print(table()))


def table() -> str:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        rows = presets(GlobalHydra.instance().config_loader())
    lines = [f"{'preset':<28}{'nodes':>8}{'models':>8}{'epochs':>8}"]
    lines += [f"{preset:<28}{count:>8,}{models:>8,}{epochs:>8}" for preset, count, models, epochs in rows]
    total = f"{len(rows)} presets"
    return "\n".join([*lines, f"{total:<28}{sum(row[1] for row in rows):>8,}{sum(row[2] for row in rows):>8,}"])

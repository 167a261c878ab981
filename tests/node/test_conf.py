"""Every config in conf/ composes, and what it names can be built."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_method

from zoo.analyze import chosen_analyses
from zoo.installation import CONF
from zoo.node.build import build, build_model, build_schedule
from zoo.node.grid import Grid

CHOICES = sorted(
    (path.parent.name, path.stem)
    for path in CONF.glob("*/*.yaml")
    if path.parent.name not in ("hydra", "zoo", "analysis")
)
ANALYSES = sorted(path.stem for path in CONF.glob("analysis/*.yaml"))


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_choice(grid: Callable[..., Grid], zoo: Path, group: str, choice: str) -> None:
    extra = ["optim=sgd"] if group == "schedule" else []
    extra += [f"init.zoo={zoo}", "init.model=0"] if choice == "from_zoo" else []
    [node] = grid(f"{group}={choice}", *extra)
    config = node.config
    assert group == "trainer" or config[group]["name"] == choice
    model = build_model(config)
    optimizer = build(config["optim"])(model.parameters())
    schedule = build_schedule(config["schedule"], optimizer)
    assert (schedule is None) == (config["schedule"]["name"] == "constant")
    build(config["trainer"])
    get_method(config["data"]["source"])
    size = config["data"]["size"] or 32
    images = torch.zeros(2, config["data"]["channels"], size, size)
    assert model(images).shape == (2, config["data"]["classes"])


def test_analyze_composes() -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert "sweep" in compose("analyze")


@pytest.mark.parametrize("name", ANALYSES)
def test_analysis(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        [found] = chosen_analyses(compose("analyze", [f"analysis=[{name}]"]).analysis)
    assert found.name == name and callable(found.function)


def test_every_yaml_says_what_it_is() -> None:
    for path in Path(CONF).glob("*/*.yaml"):
        first = path.read_text().removeprefix(f"# @package analysis.{path.stem}\n").splitlines()[0]
        assert first.startswith("# "), f"{path} has no comment in its first line"

"""A tiny sweep and the zoo made of it, trained once a session."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from zoo import paths
from zoo.collate import collate
from zoo.grid import CONF, Grid, Point
from zoo.run import train
from zoo.sweep import training

TESTS = Path(__file__).parent


@pytest.fixture
def grid() -> Iterator[Callable[..., Grid]]:
    """`grid(*overrides)`: the grid of a command, with the test configs beside the project's own."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        yield lambda *overrides: Grid(
            loader, "train", [f"hydra.searchpath=[file://{TESTS}/conf]", "data=tiny", *overrides]
        )


def prepare(points: Iterable[Point], command: Sequence[str] = ()) -> list[Point]:
    """The points, their sweeps ready to train in."""
    with training(points, command) as prepared:
        return prepared


def train_sweep(folder: Path, *overrides: str) -> list[Point]:
    """Train a sweep in `folder`/sweeps, one node after the other, in this process."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        typed = [f"sweeps={folder}/sweeps", f"data.cache={folder}/cache", "zoo.name=tiny", *overrides]
        grid = Grid(loader, "train", [f"hydra.searchpath=[file://{TESTS}/conf]", "data=tiny", *typed])
        points = prepare(grid, typed)
    for point in points:
        train([point.config], [point.run], paths.images(point.sweep))
    return points


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of 8 CNN-s models (4 seeds with and without dropout, 3 epochs). Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("tiny")
    points = train_sweep(folder, "seed=range(0,4)", "model.dropout=0,0.5", "trainer.max_epochs=3")
    return points[0].sweep


@pytest.fixture(scope="session")
def zoo(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo of that sweep. Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("zoos") / "tiny"
    collate(sweep, folder)
    return folder

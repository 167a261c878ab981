"""The grid against Hydra's own composition."""

from collections.abc import Callable, Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from zoo.installation import CONF
from zoo.node.grid import Grid
from zoo.node.resolvers import plain


@pytest.fixture
def loader() -> Iterator[ConfigLoader]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim.lr=1e-3,1e-4", "seed=range(0,3)"],
        ["optim=adam,sgd", "optim.lr=1e-3,1e-4", "schedule=one_cycle"],
        ["model=cnn_small,cnn_large", "data=mnist,cifar10", "model.dropout=0,0.5"],
        ["+zoo=mnist_hyp_rand", "init=uniform,normal", "draw=0,1", "optim.lr=1e-3,1e-2"],
        pytest.param(
            ["+note=a,b", "optim.betas=[0.8,0.9],[0.9,0.99]", "batch_size=${seed},7", "seed=3,4"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_nodes_are_what_hydra_composes(loader: ConfigLoader, overrides: list[str]) -> None:
    nodes = list(Grid(loader, "train", overrides))
    assert len(nodes) == len(Grid(loader, "train", overrides))
    for node in nodes:
        assert node.config == plain(compose("train", node.overrides))
    swept = [override.split("=", 1)[0] for override in overrides]
    assert len({tuple(node.overrides) for node in nodes}) == len(nodes)
    assert all([typed.split("=", 1)[0] for typed in node.overrides] == swept for node in nodes)


def test_nodes_share_nothing_that_one_could_change_for_another(loader: ConfigLoader) -> None:
    first, second = Grid(loader, "train", ["seed=1,2"])
    assert (first.config["seed"], second.config["seed"]) == (1, 2)


def test_the_later_override_counts(loader: ConfigLoader) -> None:
    assert [p.config["seed"] for p in Grid(loader, "train", ["seed=range(1,1001)", "seed=5,6"])] == [5, 6]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init=unifrom,normal"], "unifrom"),
        (["optim.momentum=0.1,0.2"], "Could not override 'optim.momentum'"),
        (["optim.lr=interval(0,1)"], "takes choices or a range"),
        (["+zoo=mnist_seed,usps_seed"], "one preset a command"),
    ],
)
def test_bad_overrides(loader: ConfigLoader, overrides: list[str], message: str) -> None:
    with pytest.raises(HydraException, match=message):
        list(Grid(loader, "train", overrides))


def test_a_range_is_counted_without_its_values(grid: Callable[..., Grid]) -> None:
    """Or a range typed by accident would be silence for minutes."""
    assert len(grid("seed=range(0,1000000000)", "optim.lr=1e-3,1e-4")) == 2_000_000_000
    assert len(grid("seed=range(5,5)")) == 0 and len(grid("optim.lr=range(0.1,0.35,0.1)", "init=glob(kai*)")) == 3 * 2

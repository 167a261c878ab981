"""The grid against Hydra's own composition, and the presets against the paper's figures."""

import itertools
from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode

from zoo.node.grid import Grid
from zoo.node.presets import CONF, presets
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
        ["+note=a,b", "optim.betas=[0.8,0.9],[0.9,0.99]", "batch_size=${seed},7", "seed=3,4"],
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


def test_presets_are_the_published_zoos(loader: ConfigLoader) -> None:
    rows = {name: (count, models, epochs) for name, count, models, epochs in presets(loader)}
    assert len(rows) == 27
    assert sum(models for _, models, _ in rows.values()) == 50_360
    # the paper's 2,585,360 leave out epoch 0 of the 3000 ResNets
    assert sum(models * (epochs + 1) for _, models, epochs in rows.values()) == 2_588_360
    small = [f"{data}_hyp_{kind}" for data in ("mnist", "fashion_mnist", "usps") for kind in ("rand", "fix")]
    assert all(rows[name] == (256, 2560, 50) for name in small)
    assert rows["svhn_hyp_rand"] == rows["svhn_hyp_fix"] == (432, 4320, 50)
    assert rows["cifar10_large_hyp_fix"] == (128, 1280, 50)
    assert rows["mnist_seed"] == (1, 1000, 50)
    assert rows["tiny_imagenet_resnet18"] == (1, 1000, 60)


SEED_ZOOS = {
    # init, activation, optimizer, learning rate, weight decay, dropout (paper, Table 1)
    "mnist_seed": ("uniform", "tanh", "adam", 3e-4, 0, 0),
    "fashion_mnist_seed": ("uniform", "tanh", "adam", 3e-4, 0, 0),
    "svhn_seed": ("uniform", "tanh", "adam", 3e-3, 0, 0),
    "usps_seed": ("uniform", "tanh", "adam", 3e-4, 1e-3, 0),
    "cifar10_small_seed": ("kaiming_uniform", "gelu", "adam", 1e-4, 1e-2, 0),
    "cifar10_large_seed": ("kaiming_uniform", "gelu", "adam", 1e-4, 1e-2, 0),
    "stl10_small_seed": ("kaiming_uniform", "tanh", "adam", 1e-4, 1e-3, 0),
    "stl10_large_seed": ("kaiming_uniform", "tanh", "adam", 1e-4, 1e-3, 0),
}


@pytest.mark.parametrize("preset", SEED_ZOOS)
def test_seed_presets(loader: ConfigLoader, preset: str) -> None:
    config = plain(compose("train", [f"+zoo={preset}"]))
    model, optim = config["model"], config["optim"]
    row = (config["init"]["name"], model["activation"], optim["name"], optim["lr"], optim["weight_decay"])
    assert (*row, model["dropout"]) == SEED_ZOOS[preset]
    assert model["name"] == ("cnn_large" if "large" in preset else "cnn_small")
    assert preset.startswith(config["data"]["name"]) and config["zoo"]["name"] == preset
    assert config["batch_size"] == 10 and config["trainer"]["max_epochs"] == 50
    assert config["schedule"]["name"] == "constant" and config["augmentation"]["name"] == "none"


def sweep_of(loader: ConfigLoader, preset: str) -> Grid:
    config = loader.load_configuration("train", [f"+zoo={preset}"], run_mode=RunMode.MULTIRUN)
    params = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
    return Grid(loader, "train", [*params, f"+zoo={preset}"])


INITS = {"uniform", "normal", "kaiming_uniform", "kaiming_normal"}
ACTIVATIONS = {"tanh", "sigmoid", "relu", "gelu"}
HYP_ZOOS = {
    # optimizers, learning rates, weight decays, dropouts
    "mnist": ({"adam", "sgd"}, {1e-3, 1e-4}, {1e-3, 1e-4}, {0, 0.5}),
    "fashion_mnist": ({"adam", "sgd"}, {1e-3, 1e-4}, {1e-3, 1e-4}, {0, 0.5}),
    "usps": ({"adam", "sgd"}, {1e-3, 1e-4}, {1e-2, 1e-3}, {0, 0.5}),
    "stl10_small": ({"adam", "sgd"}, {1e-3, 1e-4}, {1e-2, 1e-3}, {0, 0.5}),
    "stl10_large": ({"adam", "sgd"}, {1e-3, 1e-4}, {1e-2, 1e-3}, {0, 0.5}),
    "cifar10_small": ({"adam", "sgd"}, {1e-3}, {1e-2, 1e-3}, {0, 0.5}),
    "cifar10_large": ({"adam", "sgd"}, {1e-3}, {1e-2, 1e-3}, {0, 0.5}),
    "svhn": ({"sgd"}, {1e-2, 1e-3, 1e-4}, {0, 1e-3, 1e-1}, {0, 0.3, 0.5}),
}


@pytest.mark.parametrize("zoo", HYP_ZOOS)
def test_hyp_presets(loader: ConfigLoader, zoo: str) -> None:
    expected = set(itertools.product(INITS, ACTIVATIONS, *HYP_ZOOS[zoo]))
    seeds: dict[str, dict[tuple, list[int]]] = {"fix": {}, "rand": {}}
    for kind, by_node in seeds.items():
        for node in sweep_of(loader, f"{zoo}_hyp_{kind}"):
            config, optim = node.config, node.config["optim"]
            model = config["model"]
            factors = (config["init"]["name"], model["activation"], optim["name"], optim["lr"], optim["weight_decay"])
            by_node.setdefault((*factors, model["dropout"]), []).append(config["seed"])
            assert optim.get("momentum", 0.9) == 0.9 and config["zoo"]["name"] == f"{zoo}_hyp_{kind}"
        assert set(by_node) == expected
    assert all(drawn == list(range(1, 11)) for drawn in seeds["fix"].values())
    assert all(len(set(drawn)) == 10 for drawn in seeds["rand"].values())
    assert len({seed for drawn in seeds["rand"].values() for seed in drawn}) > 9 * len(expected)


def test_resnet_presets(loader: ConfigLoader) -> None:
    for data, lr, batch_size, epochs, sizes in (
        ("cifar10", 0.05, 256, 50, (40000, 10000, 10000)),
        ("cifar100", 0.1, 128, 60, (40000, 10000, 10000)),
        ("tiny_imagenet", 0.1, 128, 60, (100000, 0, 10000)),
    ):
        config = plain(compose("train", [f"+zoo={data}_resnet18"]))
        assert (config["data"]["name"], config["model"]["name"]) == (data, "resnet18")
        assert config["optim"] | {"lr": lr, "weight_decay": 5e-4, "momentum": 0.9} == config["optim"]
        assert config["schedule"]["max_lr"] == lr and config["init"]["name"] == "kaiming_uniform"
        assert (config["batch_size"], config["trainer"]["max_epochs"]) == (batch_size, epochs)
        assert tuple(config["data"][split] for split in ("train", "val", "test")) == sizes
        assert config["data"]["size"] is None

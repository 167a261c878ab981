"""The presets against the paper's figures. Each is composed once."""

import itertools
import sys
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from zoo.__main__ import main
from zoo.installation import CONF
from zoo.node import presets
from zoo.node.build import build_model
from zoo.node.grid import Grid, typed_values
from zoo.node.resolvers import plain


class Remembering:
    """A loader that composes each command once, if it is a sweep's; others change what they are given."""

    def __init__(self, loader: Any):
        self.loader = loader
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def load_configuration(self, name: str, overrides: list[str], run_mode: RunMode) -> DictConfig:
        if run_mode != RunMode.MULTIRUN:
            return self.loader.load_configuration(name, overrides, run_mode=run_mode)
        key = (name, *overrides)
        if key not in self.composed:
            self.composed[key] = self.loader.load_configuration(name, overrides, run_mode=run_mode)
        return self.composed[key]


@pytest.fixture(scope="module")
def loader() -> Remembering:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return Remembering(GlobalHydra.instance().config_loader())


def composed(loader: ConfigLoader, preset: str) -> DictConfig:
    return loader.load_configuration("train", [f"+zoo={preset}"], run_mode=RunMode.MULTIRUN)


def test_presets_are_the_published_zoos(loader: ConfigLoader) -> None:
    rows = {name: (count, models, epochs) for name, count, models, epochs in presets.presets(loader)}
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
    config = plain(composed(loader, preset))
    model, optim = config["model"], config["optim"]
    row = (config["init"]["name"], model["activation"], optim["name"], optim["lr"], optim["weight_decay"])
    assert (*row, model["dropout"]) == SEED_ZOOS[preset]
    assert model["name"] == ("cnn_large" if "large" in preset else "cnn_small")
    assert preset.startswith(config["data"]["name"]) and config["zoo"]["name"] == preset
    assert config["batch_size"] == 10 and config["trainer"]["max_epochs"] == 50
    assert config["schedule"]["name"] == "constant" and config["augmentation"]["name"] == "none"


def sweep_of(loader: ConfigLoader, preset: str) -> Grid:
    params = [f"{key}={value}" for key, value in composed(loader, preset).hydra.sweeper.params.items()]
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
def test_hyp_presets_sweep_the_paper_s_factors(loader: ConfigLoader, zoo: str) -> None:
    inits, activations, (optimizers, *numbers) = INITS, ACTIVATIONS, HYP_ZOOS[zoo]
    for kind, repeats in {"fix": "seed", "rand": "draw"}.items():
        grid = sweep_of(loader, f"{zoo}_hyp_{kind}")
        factors = {o.get_key_element(): {text.partition("=")[2] for text, _ in typed_values(o)} for o in grid.overrides}
        assert factors.pop("+zoo") == {f"{zoo}_hyp_{kind}"}
        assert len(factors.pop(repeats)) == 10
        config = plain(composed(loader, f"{zoo}_hyp_{kind}"))
        assert config["zoo"]["name"] == f"{zoo}_hyp_{kind}" and config["optim"].get("momentum", 0.9) == 0.9
        assert factors.pop("init") == inits and factors.pop("model.activation") == activations
        assert factors.pop("optim", {config["optim"]["name"]}) == optimizers
        for key, values in zip(("optim.lr", "optim.weight_decay", "model.dropout"), numbers, strict=True):
            group, name = key.split(".")
            assert {float(value) for value in factors.pop(key, {config[group][name]})} == values
        assert not factors


@pytest.mark.parametrize("zoo", [pytest.param(zoo, marks=[pytest.mark.slow] * (zoo != "mnist")) for zoo in HYP_ZOOS])
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
        config = plain(composed(loader, f"{data}_resnet18"))
        assert (config["data"]["name"], config["model"]["name"]) == (data, "resnet18")
        assert config["optim"] | {"lr": lr, "weight_decay": 5e-4, "momentum": 0.9} == config["optim"]
        assert config["schedule"]["max_lr"] == lr and config["init"]["name"] == "kaiming_uniform"
        assert (config["batch_size"], config["trainer"]["max_epochs"]) == (batch_size, epochs)
        assert tuple(config["data"][split] for split in ("train", "val", "test")) == sizes
        assert config["data"]["size"] is None


def test_every_preset_has_its_own_name_and_a_config_that_can_be_built(loader: ConfigLoader) -> None:
    names = [path.stem for path in (CONF / "zoo").glob("*.yaml")]
    for name in names:
        config = plain(composed(loader, name))
        assert config["zoo"]["name"] == name
        build_model(config)
    assert len(names) == 27


def test_the_table(loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = presets.presets(loader)
    monkeypatch.setattr(presets, "presets", lambda _: rows)
    monkeypatch.setattr(sys, "argv", ["zoo", "presets"])
    main()
    told = capsys.readouterr().out
    assert "27 presets" in told and "50,360" in told

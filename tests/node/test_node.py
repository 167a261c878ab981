"""Names and values of nodes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.installation import CONF
from zoo.node.grid import Grid, leaves
from zoo.node.node import Node, canonical
from zoo.node.user_code import code_of, user_code


def name(node: Node) -> str:
    return node.run.name


def test_name_shows_the_values(grid: Callable[..., Grid]) -> None:
    [node] = grid("seed=3", "optim.lr=1e-4", "model.dropout=0.5", "init=normal", "model.activation=relu")
    assert name(node).startswith("relu_normal_adam_lr0.0001_wd0_dropout0.5_seed3_")


def test_name_is_the_same_however_a_value_is_typed(grid: Callable[..., Grid]) -> None:
    nodes = [*grid("optim.lr=1e-3", "model.dropout=0"), *grid("optim.lr=0.001", "model.dropout=0.0"), *grid()]
    assert len({name(node) for node in nodes}) == 1


def test_name_follows_every_trained_value_and_no_other(grid: Callable[..., Grid]) -> None:
    trained = ("train_metrics=exact", "batch_size=20", "optim.eps=1e-7", "data.split_seed=1", "schedule=one_cycle")
    untrained: tuple[str, ...] = ("data.root=/elsewhere", "data.download=false", "sweeps=other", "trainer.max_epochs=9")
    untrained += ("trainer.accelerator=gpu", "engine=torch", "zoo.name=other", "dry_run=true")
    [default] = grid()
    names = {name(node) for override in trained for node in grid(override)}
    assert len(names) == len(trained) and name(default) not in names
    assert {name(node) for override in untrained for node in grid(override)} == {name(default)}


def test_params_hold_what_one_types_and_the_released_keys(grid: Callable[..., Grid]) -> None:
    [node] = grid("optim=rmsprop", "optim.lr=0.01", "model.activation=leaky_relu", "seed=5", "trainer.max_epochs=2")
    params = node.params
    assert params["optim"] == "rmsprop" and params["optim.lr"] == 0.01 and params["init"] == "kaiming_uniform"
    assert params["seed"] == 5 and params["batch_size"] == 10 and params["trainer.max_epochs"] == 2
    released = {key: value for key, value in params.items() if "::" in key}
    assert released == {
        "model::type": "CNN",
        "model::channels_in": 1,
        "model::o_dim": 10,
        "model::nlin": "leakyrelu",
        "model::dropout": 0.0,
        "model::init_type": "kaiming_uniform",
        "optim::optimizer": "rms_prop",
        "optim::lr": 0.01,
        "optim::wd": 0.0,
        "optim::momentum": 0.9,
        "training::batchsize": 10,
        "training::epochs_train": 2,
    }


IDENTITY = {
    *("data", "model", "init", "optim", "schedule", "augmentation", "batch_size", "seed", "immaterial"),
    *("train_metrics",),  # of the protocol: it changes no weight, but a zoo never mixes them
    *("trainer.max_epochs",),  # by way of the schedule alone
}


@pytest.mark.parametrize("choice", [f"{path.parent.name}={path.stem}" for path in CONF.glob("[!h]*/*.yaml")])
def test_every_key_is_in_the_identity_or_in_the_list_of_what_is_not(
    grid: Callable[..., Grid], zoo: Path, choice: str
) -> None:
    """A new key is neither until someone decides: here, or by `immaterial` in conf/train.yaml."""
    parent = [f"init.zoo={zoo}", "init.model=0"] if choice == "init=from_zoo" else []
    [node] = list(grid("data=mnist_5k", f"+{choice}" if choice.startswith("zoo=") else choice, *parent))
    immaterial = set(node.config["immaterial"])
    for key, _ in leaves(node.config):
        listed = any(f"{key}.".startswith(f"{other}.") for other in immaterial)
        decided = any(f"{key}.".startswith(f"{other}.") for other in IDENTITY)
        assert listed or decided, f"{key}: is it part of a node's identity?"
        if key == "immaterial":
            continue
        changed = Node(replaced(node.config, key.split("."), "other"))
        is_in = not listed and key != "trainer.max_epochs"
        assert (canonical(changed.identity) != canonical(node.identity)) == is_in, key


def replaced(config: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    return {**config, first: replaced(config[first], rest, value) if rest else value}


def test_an_option_of_the_trainer_that_nobody_listed_makes_another_model(grid: Callable[..., Grid]) -> None:
    [plain], [precise] = grid(), grid("+trainer.precision=bf16-mixed")
    assert plain.name != precise.name and plain.identity["trainer"] == {}


@pytest.mark.parametrize(
    "override", ["init.name=../../escaped", "init.name=a/b", "'init.name=my init'", "init.name=" + "x" * 250]
)
def test_names_are_folders_names(grid: Callable[..., Grid], override: str) -> None:
    [node] = grid(override.strip("'"))
    with pytest.raises(ZooError, match="can't be a run's folder: init.name"):
        node.name  # noqa: B018


def test_the_users_code_is_part_of_the_identity(
    grid: Callable[..., Grid], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for version, text in enumerate(["class Net: pass", "class Net: depth = 2"]):
        folder = tmp_path / str(version)
        folder.mkdir()
        (folder / "mine.py").write_text(text)
        monkeypatch.syspath_prepend(folder)
        code_of.cache_clear()
        [node] = grid("model._target_=mine.Net")
        names.append(node.name)
        assert user_code(node.config)["model"].text == text.encode()
        assert set(node.values["sources"]) == {"data", "model"}  # tests.tiny.source is no part of the package
    assert names[0] != names[1]
    code_of.cache_clear()


def test_the_users_packages_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "slow/nets.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert user_code({"model": {"_target_": "slow.nets.Net"}})["model"].file == tmp_path / "slow/nets.py"


def test_the_package_itself_and_installed_packages_are_not_the_users_code(grid: Callable[..., Grid]) -> None:
    [node] = grid("data=mnist_5k")
    assert user_code(node.config) == {} and "sources" not in node.values

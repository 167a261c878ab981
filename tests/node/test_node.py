"""Names and values of nodes."""

import hashlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    *("trainer.callbacks",),  # of those that may change a model
}


@pytest.mark.parametrize(
    "choice",
    [f"{path.parent.name}={path.stem}" for path in CONF.glob("[!h]*/*.yaml") if path.parent.name != "analysis"],
)
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


CALLBACKS = "pytorch_lightning.callbacks"


@pytest.mark.parametrize(
    ("callback", "is_in"),
    [
        (f"{CALLBACKS}.LearningRateMonitor", False),
        ("lightning.pytorch.callbacks.device_stats_monitor.DeviceStatsMonitor", False),
        (f"{CALLBACKS}.LambdaCallback", True),
        ("tests.run.test_trainer.Watcher", True),
        ("mine.LearningRateMonitor", True),
    ],
)
def test_a_callback_that_may_change_a_model_makes_another(
    grid: Callable[..., Grid], callback: str, is_in: bool
) -> None:
    watching = f"{{_target_: {CALLBACKS}.ModelSummary}}"
    [plain], [watched] = grid(), grid(f"+trainer.callbacks=[{watching}]")
    [other] = grid(f"+trainer.callbacks=[{watching},{{_target_: {callback}}}]")
    assert watched.name == plain.name and (other.name != plain.name) == is_in
    assert ("trainer" in other.values["sources"]) == callback.startswith("tests.")


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


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., dict[str, str]]]:
    """`own(config, **texts)`: the digests of the user's code for a config, with those texts in files of that name."""
    monkeypatch.syspath_prepend(tmp_path)

    def digests(config: Mapping[str, Any], **texts: str) -> dict[str, str]:
        for name, text in texts.items():
            path = tmp_path / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        code_of.cache_clear()
        importlib.invalidate_caches()
        return {group: code.digest for group, code in user_code(config).items()}

    yield digests
    code_of.cache_clear()


def test_a_file_alone_has_the_digest_that_it_always_had(own: Callable[..., dict[str, str]]) -> None:
    text = "import torch\nimport json\nfrom zoo.errors import ZooError\nimport pandas.core\n"
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert own({"optim": {"_target_": "alone_code.Opt"}}, alone_code=text) == {"optim": expected}


@pytest.mark.parametrize(
    "line",
    [
        "import mine_helper",
        "from mine_helper import step",
        "def later():\n    import mine_helper",
        "import mine_between",  # which imports it
        "from mine_package import inner",  # whose __init__ imports it
        "from mine_package.inner import step",
    ],
)
def test_what_the_users_file_imports_is_part_of_the_identity(own: Callable[..., dict[str, str]], line: str) -> None:
    config = {"optim": {"_target_": "mine_opt.Opt"}}
    files = {"mine_opt": line, "mine_between": "import mine_helper", "mine_helper": "1"}
    files |= {"mine_package__in____init__": "import mine_helper", "mine_package__in__inner": ""}
    before = own(config, **files)
    assert own(config, unrelated="1") == before
    assert own(config, mine_helper="2") != before


def test_relative_imports_are_followed_and_circles_end(own: Callable[..., dict[str, str]]) -> None:
    config = {"optim": {"_target_": "mine_pack.opt.Opt"}}
    files = {"mine_pack__in____init__": "", "mine_pack__in__opt": "from .helper import step\nfrom .... import beyond"}
    before = own(config, **files, mine_pack__in__helper="from . import opt")
    assert own(config, mine_pack__in__helper="from . import opt # edited") != before


@pytest.mark.parametrize(
    "init",
    [
        {"_target_": "mine_two.make", "weight": {"_target_": "mine_one.draw"}},
        {"weight": {"_target_": "mine_one.draw"}, "_target_": "mine_two.make"},
        {"_target_": "mine_two.make", "parts": [[{"_target_": "mine_one.draw"}]]},
        {"_target_": "mine_two.make", "draw": {"_target_": "hydra.utils.get_method", "path": "mine_one.draw"}},
        {"_target_": "mine_two.make", "draw": {"_target_": "hydra.utils.get_class", "_args_": ["mine_one.Draw"]}},
    ],
)
def test_every_file_that_a_choice_names_is_part_of_the_identity(own: Callable[..., dict[str, str]], init: Any) -> None:
    before = own({"init": init}, mine_one="1", mine_two="1")
    after = own({"init": init}, mine_one="2"), own({"init": init}, mine_one="1", mine_two="2")
    assert len({found["init"] for found in (before, *after)}) == 3


def test_the_users_packages_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow/__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "slow/nets.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert user_code({"model": {"_target_": "slow.nets.Net"}})["model"].file == tmp_path / "slow/nets.py"


def test_the_package_itself_and_installed_packages_are_not_the_users_code(grid: Callable[..., Grid]) -> None:
    [node] = grid("data=mnist_5k")
    assert user_code(node.config) == {} and "sources" not in node.values

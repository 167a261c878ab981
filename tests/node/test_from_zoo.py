"""Nodes that start from a state of a zoo: which state, under which name, with which optimizer."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf.errors import InterpolationResolutionError

from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.node.build import build_model
from zoo.node.from_zoo import notice, steps_before
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.sweep.check import check

Nodes = Callable[..., list[Node]]


@pytest.fixture
def nodes(grid: Callable[..., Grid], zoo: Path) -> Nodes:
    """`nodes(*overrides)`: of a command that starts from the session's zoo, unless it names another."""
    return lambda *overrides: list(grid("init=from_zoo", f"init.zoo={zoo}", *overrides))


def table(zoo: Path) -> pd.DataFrame:
    return pd.read_csv(paths.models(zoo))


@pytest.mark.parametrize("dropout", [0, 0.2])
def test_a_model_is_at_the_state_bit_for_bit(nodes: Nodes, zoo: Path, dropout: float) -> None:
    """Whether or not dropout layers, which number the keys, stand where they stood."""
    dataset = ZooDataset(zoo)
    for node in nodes("init.model=0,7", "init.epoch=0,2", f"model.dropout={dropout}", "seed=99"):
        parent = dataset.state_dict(node.config["init"]["model"], node.config["init"]["epoch"])
        state = build_model(node.config).state_dict()
        assert all(map(torch.equal, state.values(), parent.values())) and len(state) == len(parent)


def test_an_id_is_the_node_that_it_stands_for_at_once(nodes: Nodes, zoo: Path) -> None:
    names = table(zoo)["node"].tolist()
    found = nodes("init.model=range(2,5)", "init.epoch=1")
    assert [node.config["init"]["model"] for node in found] == names[2:5]
    assert [node.name for node in found] == [nodes(f"init.model={name}", "init.epoch=1")[0].name for name in names[2:5]]


def test_without_an_epoch_it_is_the_last(nodes: Nodes) -> None:
    assert nodes("init.model=1")[0].name == nodes("init.model=1", "init.epoch=3")[0].name


def test_the_name_follows_from_the_state_and_not_from_where_the_zoo_lies(
    nodes: Nodes, zoo: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(zoo, tmp_path / "moved")
    typed = ("init.model=0,1", "init.epoch=1,3", "init.optimizer=true,false")
    here, there = nodes(*typed), nodes(*typed, f"init.zoo={moved}")
    assert [node.name for node in here] == [node.name for node in there]
    assert len({node.name for node in here}) == 6  # before the last epoch, there is no optimizer that could go on
    content = bytearray(paths.weights(moved).read_bytes())
    content[256] ^= 1  # the first bytes after the header: of model 0 at epoch 0
    paths.weights(moved).write_bytes(content)
    paths.models(moved).touch()
    assert (
        nodes("init.model=0", "init.epoch=0")[0].name
        != nodes("init.model=0", "init.epoch=0", f"init.zoo={moved}")[0].name
    )


def test_a_compact_zoo_is_the_same(nodes: Nodes, sweep: Path, tmp_path: Path) -> None:
    make_zoo(sweep, tmp_path / "tiny", "compact")
    here, there = nodes("init.model=3"), nodes("init.model=3", f"init.zoo={tmp_path}/tiny")
    assert here[0].name == there[0].name and here[0].config["init"]["optimizer"]


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["init.epoch=3"], None),
        (["init.epoch=3", "optim.lr=0.1", "optim.weight_decay=0.1"], None),
        (["init.epoch=2"], "keeps one at each model's last epoch"),
        (["init.epoch=3", "optim=sgd"], "not the one that"),
        (["init.epoch=3", "optim.eps=1e-7"], "not the one that"),
    ],
)
def test_the_optimizer_goes_on_where_it_is_kept_and_is_the_same(nodes: Nodes, overrides: list[str], why: str) -> None:
    found = nodes("init.model=0", *overrides)
    text = notice(found)
    assert found[0].config["init"]["optimizer"] == (why is None) == (text is None)
    assert steps_before(found[0].config) == (12 if why is None else 0)  # 3 epochs of 40 images in batches of 10
    if text:
        assert text.startswith("1 of 1 models start with a fresh optimizer: ") and why in text
    fresh = nodes("init.model=0", "init.optimizer=false", *overrides)
    assert not fresh[0].config["init"]["optimizer"] and notice(fresh) is None
    assert (fresh[0].name == found[0].name) == bool(why)


@pytest.mark.parametrize(("pattern", "count"), [("*", 8), ("*dropout0.5*", 4), ("'*seed[12]_*'", 4)])
def test_a_pattern_is_all_models_that_it_fits_to(nodes: Nodes, pattern: str, count: int) -> None:
    found = nodes(f"init.model={pattern}", "init.epoch=1,2")
    assert len({node.config["init"]["model"] for node in found}) == count and len(found) == 2 * count


def test_a_child_can_have_its_parents_values(nodes: Nodes, zoo: Path) -> None:
    found = nodes("init.model=*", "seed=${parent:seed}", "model.dropout=${parent:model.dropout}")
    models = table(zoo)
    assert [node.seed for node in found] == models["seed"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert [node.config["model"]["dropout"] for node in found] == models["model.dropout"].tolist()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init.zoo=nowhere", "init.model=0"], "init.zoo=nowhere is no zoo here.* workers on other machines"),
        (["init.epoch=1"], "give init.model"),
        (["init.model=8"], "init.model=8: .* has no such model.* id from 0 to 7"),
        (["init.model=-1"], "no such model"),
        (["init.model=relu"], "init.model=relu: .* has no such model"),
        (["init.model=relu*"], r"init.model=relu\*: fits to no node"),
        (["init.model=0", "init.epoch=4"], "init.epoch=4: .* has the epochs 0 to 3"),
        (["init.model=0", "init.epoch=-1"], "has the epochs 0 to 3"),
        (["init.model=0", "init.epoch=last"], "has the epochs 0 to 3"),
        (["init.model=0", "init.optimizer=maybe"], "init.optimizer=maybe: must be true or false"),
    ],
)
def test_what_is_not_there_is_one_clear_error(nodes: Nodes, overrides: list[str], message: str) -> None:
    with pytest.raises(ZooError, match=message):
        nodes(*overrides)


def test_a_grid_of_all_inits_says_how_to_leave_it_out(grid: Callable[..., Grid]) -> None:
    with pytest.raises(ZooError, match=r"give init.zoo, .*init=glob\(\*,exclude=from_zoo\)"):
        list(grid("init=glob(*)"))
    assert len(list(grid("init=glob(*,exclude=from_zoo)"))) == 6


def test_a_key_that_the_parent_has_not(nodes: Nodes) -> None:
    with pytest.raises(InterpolationResolutionError, match=r"\$\{parent:sed\}: .* has no sed"):
        nodes("init.model=0", "seed=${parent:sed}")


@pytest.mark.parametrize("override", ["model=cnn_large", "data=cifar10", "+model.kernels=3"])
def test_other_tensors_are_refused_before_anything_is_trained(nodes: Nodes, override: str) -> None:
    with pytest.raises(ZooError, match="has other tensors than the models in init.zoo|model.kernels=3"):
        check(nodes("init.model=0", override))


def test_a_state_that_is_not_finite_is_refused(nodes: Nodes, zoo: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(zoo, tmp_path / "moved")
    content = bytearray(paths.weights(moved).read_bytes())
    content[256:260] = b"\x00\x00\xc0\x7f"  # NaN
    paths.weights(moved).write_bytes(content)
    with pytest.raises(ZooError, match=r"init.epoch=0: .* has weights that are not finite"):
        nodes("init.model=0", "init.epoch=0", f"init.zoo={moved}")


def test_a_zoo_that_changed_since_is_refused(nodes: Nodes, zoo: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(zoo, tmp_path / "moved")
    [node] = nodes("init.model=0", "init.epoch=0", f"init.zoo={moved}")
    content = bytearray(paths.weights(moved).read_bytes())
    content[256] ^= 1
    paths.weights(moved).unlink()  # what is open stays as it was
    paths.weights(moved).write_bytes(content)
    paths.models(moved).touch()
    with pytest.raises(ZooError, match=rf"init.zoo={moved}: the state of .* is not what it was"):
        build_model(node.config)
    shutil.rmtree(moved)
    with pytest.raises(ZooError, match=rf"init.zoo={moved} is no zoo here"):
        build_model(node.config)

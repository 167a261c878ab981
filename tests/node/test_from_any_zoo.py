"""Nodes that start from a state of what is no zoo's folder: a zip file, a sweep, a population made elsewhere."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf.errors import InterpolationResolutionError

from tests.foreign import raw
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.node.build import build_model
from zoo.node.from_zoo import notice, parent_optimizer
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.sweep.check import check

Nodes = Callable[..., list[Node]]

ADAM = ["optim=adam", "optim.lr=0.0003"]


@pytest.fixture
def nodes(grid: Callable[..., Grid]) -> Nodes:
    """`nodes(zoo, *overrides)`: of a command that starts from a zoo."""
    return lambda zoo, *overrides: list(grid("init=from_zoo", f"init.zoo={zoo}", *overrides))


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A raw zoo of 4 models with 3 states each, half of them with dropout, and the optimizer beside each."""
    root = raw.released(tmp_path / "tune_zoo_mnist")
    for run in runs(root):
        raw.write_optimizers(run)
    return root


def runs(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def zipped(folder: Path, target: Path) -> Path:
    return Path(shutil.make_archive(str(target), "zip", folder.parent, folder.name))


@pytest.mark.parametrize("kind", ["zip", "zip of a compact one", "sweep"])
def test_our_own_zoos_however_they_lie(
    nodes: Nodes, zoo: Path, compact: Path, sweep: Path, kind: str, tmp_path: Path
) -> None:
    """The node is the same as from the zoo's folder, and so is what its optimizer goes on from."""
    typed = ("init.model=1,6", "init.epoch=1,3")
    there = {"zip": paths.archive(zoo), "zip of a compact one": paths.archive(compact), "sweep": sweep}[kind]
    here = nodes(zoo, *typed)
    ids = dict(enumerate(node.config["init"]["model"] for node in nodes(zoo, "init.model=*")))
    other = [nodes(there, f"init.model={ids[id]}", f"init.epoch={epoch}")[0] for id in (1, 6) for epoch in (1, 3)]
    assert [node.name for node in here] == [node.name for node in other]
    for node, twin in zip(here, other, strict=True):
        assert torch.equal(vector(node), vector(twin))
        state, expected = parent_optimizer(node.config), parent_optimizer(twin.config)
        assert (state is None) == (expected is None) == (node.config["init"]["epoch"] == 1)
        if state and expected:
            assert all(torch.equal(state[i][key], expected[i][key]) for i in state for key in state[i])
    checksums = [node.config["init"]["_noted"]["checksums"] for node in other]
    assert all(checksums) == (kind != "sweep")
    assert here[0].params["parent"]["zoo"] == other[0].params["parent"]["zoo"] == "tiny"


def vector(node: Node) -> torch.Tensor:
    return torch.cat([value.flatten() for value in build_model(node.config).state_dict().values()])


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_published_zoo_as_it_lies(nodes: Nodes, published: Path, tmp_path: Path, kind: str) -> None:
    """Its states, its optimizers at every epoch, its models' values."""
    zoo = published if kind == "folder" else zipped(published, tmp_path / "published")
    typed = ["seed=${parent:seed}", "model.dropout=${parent:model.dropout}", "batch_size=${parent:batch_size}"]
    found = nodes(zoo, "init.model=*", "init.epoch=0,1,2", *ADAM, *typed)
    assert [node.seed for node in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for node, (run, epoch) in zip(found, [(run, epoch) for run in runs(published) for epoch in range(3)], strict=True):
        state = torch.load(paths.checkpoint(run, epoch))
        assert torch.equal(vector(node), torch.cat([value.flatten() for value in state.values()]))
        saved = torch.load(paths.optimizer(run, epoch))["state"]
        own = parent_optimizer(node.config)
        assert own is not None and own.keys() == saved.keys() and node.config["init"]["_steps"] == epoch
        assert all(torch.equal(own[i][key], saved[i][key]) for i in saved for key in saved[i])
        assert node.params["parent"]["node"] == run.name and node.params["parent"]["epoch"] == epoch
        assert node.params["parent"]["zoo"] == ("published" if kind == "zip" else "tune_zoo_mnist")
    assert notice(found) is None and len(check(found)) == 1


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["optim=sgd"], "not the one that"),
        (["optim=adam", "optim.betas=[0.5,0.9]"], "not the one that"),
        (["optim=adam", "optim.lr=0.1", "optim.weight_decay=1"], None),
        (["optim=adam", "init.model=1"], "keeps none there"),
    ],
)
def test_a_published_optimizer_goes_on_if_it_is_the_same(
    nodes: Nodes, published: Path, overrides: list[str], why: str | None
) -> None:
    paths.optimizer(runs(published)[1], 2).unlink()
    found = nodes(published, "init.model=0", *overrides)
    text = notice(found)
    assert found[0].config["init"]["optimizer"] == (why is None) == (text is None)
    assert why is None or (text and why in text)


def test_steps_that_an_old_pytorch_counted_in_whole_numbers(nodes: Nodes, published: Path) -> None:
    path = paths.optimizer(runs(published)[0], 2)
    saved = torch.load(path)
    for state in saved["state"].values():
        state["step"] = int(state["step"])
    torch.save(saved, path)
    [node] = nodes(published, "init.model=0", *ADAM)
    own = parent_optimizer(node.config)
    assert own and own[0]["step"].item() == 2.0 == node.config["init"]["_steps"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda saved: saved["state"].pop(3), "is damaged .it is of 9 parameters, not 10"),
        (
            lambda saved: saved["state"][2].update(exp_avg=torch.zeros(3)),
            "is damaged .*'exp_avg' is not like its parameter",
        ),
        (lambda saved: saved["state"][2].update(step="two"), "is damaged .no state of an optimizer"),
        (lambda saved: saved.pop("state"), "is damaged .no state of an optimizer: KeyError"),
    ],
)
def test_a_damaged_optimizer_is_one_line(
    nodes: Nodes, published: Path, change: Callable[[dict], object], message: str
) -> None:
    path = paths.optimizer(runs(published)[0], 2)
    saved = torch.load(path)
    change(saved)
    torch.save(saved, path)
    with pytest.raises(ZooError, match=f"checkpoint_000002/optimizer {message}"):
        nodes(published, "init.model=0", *ADAM)
    path.write_bytes(b"no such file")
    with pytest.raises(ZooError, match="checkpoint_000002/optimizer is damaged"):
        nodes(published, "init.model=0", *ADAM)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["init.model=4"], "init.model=4: .* has no such model. Give a node, such as NN_tune.* id from 0 to 3"),
        (["init.model=0", "init.epoch=3"], "init.epoch=3: .* has the epochs 0 to 2"),
        (["init.model=0", "init.epoch=1"], "init.epoch=1: .* has no state there, but at the epochs 0, 2$"),
        (["init.model=1", "init.epoch=1"], "init.epoch=1: .* has weights that are not finite there"),
        (["init.model=2", "init.epoch=1"], "checkpoint_000001/checkpoints is damaged or no checkpoint"),
        (["init.model=0", "model=cnn_large"], "model=cnn_large for data=tiny has other tensors than the models"),
    ],
)
def test_what_a_published_zoo_has_not_is_one_line(
    nodes: Nodes, published: Path, overrides: list[str], message: str
) -> None:
    first, second, third, _ = runs(published)
    shutil.rmtree(first / "checkpoint_000001")
    state = torch.load(paths.checkpoint(second, 1))
    state["module_list.0.bias"][0] = torch.inf
    torch.save(state, paths.checkpoint(second, 1))
    paths.checkpoint(third, 1).write_bytes(b"no such file")
    with pytest.raises(ZooError, match=message) as error:
        check(nodes(published, *overrides))
    assert "\n" not in str(error.value)


def test_what_holds_no_models_is_one_line(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=f"{tmp_path} is no zoo: give a folder that"):
        nodes(tmp_path, "init.model=0")


@pytest.mark.parametrize("key", ["optim.momentum", "config", "model::nlin", "parent"])
def test_a_value_that_a_published_zoo_has_not(nodes: Nodes, published: Path, key: str) -> None:
    with pytest.raises(InterpolationResolutionError, match=f"{key}}}: .* has no {key}. It has .*optim"):
        nodes(published, "init.model=0", f"batch_size=${{parent:{key}}}")


def test_a_small_cnn_zoo(nodes: Nodes, tmp_path: Path) -> None:
    """One matrix of all states; `epoch` counts the steps that were kept."""
    states = raw.small_cnn(tmp_path / "small")
    found = nodes(tmp_path / "small", "init.model=*", "init.epoch=4", "model=cnn_strided", "model.activation=relu")
    expected = [
        torch.cat([value.flatten() for value in states[f"/cns/x/42/{number}", 86].values()]) for number in range(3)
    ]
    assert all(map(torch.equal, map(vector, found), expected))
    assert not any(node.config["init"]["optimizer"] for node in found)


def test_a_sweep_that_grew_is_opened_anew(nodes: Nodes, published: Path) -> None:
    assert len(nodes(published, "init.model=*")) == 4
    shutil.copytree(runs(published)[0], published / "one_more")
    assert len(nodes(published, "init.model=*")) == 5

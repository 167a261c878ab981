"""Training that goes on from states of a zoo, by either engine, in packs, after a kill."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import prepare, train_sweep
from tests.foreign import raw
from tests.run.test_run import Interruption, assert_same_states
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.record import read_records, read_state, read_training_state
from zoo.launch.packing import pack_key
from zoo.node.node import Node
from zoo.run.recorder import Recorder
from zoo.run.run import train

pytestmark = pytest.mark.usefixtures("without_drawing")


def children(folder: Path, zoo: Path, *overrides: str) -> list[Node]:
    return train_sweep(folder, "init=from_zoo", f"init.zoo={zoo}", "trainer.max_epochs=2", *overrides)


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_training_goes_on_as_if_it_had_never_ended(zoo: Path, tmp_path: Path, engine: str) -> None:
    """3 epochs, then 2 more from the zoo, are the epochs 3 to 5 of 5; up to rounding if PyTorch follows the engine."""
    [longer] = train_sweep(tmp_path / "longer", "seed=2", "model.dropout=0.5", "trainer.max_epochs=5")
    [node] = children(tmp_path, zoo, "init.model=*dropout0.5_seed2*", "seed=2", "model.dropout=0.5", f"engine={engine}")
    assert node.config["init"]["optimizer"]
    for epoch in range(3):
        state, expected = read_state(node.run, epoch), read_state(longer.run, epoch + 3)
        for key, value in state.items():
            exact = engine == "auto" or epoch == 0
            assert torch.equal(value, expected[key]) if exact else torch.allclose(value, expected[key], atol=1e-4)
    assert not torch.equal(read_state(node.run, 0)["module_list.0.weight"], state["module_list.0.weight"])


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_fresh_optimizer_and_one_that_goes_on(zoo: Path, tmp_path: Path, engine: str) -> None:
    """Steps count on, and learning rates are the child's own."""
    typed = ["init.model=0", "init.optimizer=true,false", "optim.lr=0.002", f"engine={engine}"]
    on, fresh = children(tmp_path, zoo, *typed)
    for node, before in ((on, 12), (fresh, 0)):
        saved = read_training_state(node.run, 2)["optimizer"]
        assert saved["state"][0]["step"] == before + 8
        assert saved["param_groups"][0]["lr"] == 0.002
    assert pack_key(on) != pack_key(fresh)
    assert_same_states(on.run, fresh.run, epochs=0)
    assert not torch.equal(
        read_state(on.run, 1)["module_list.0.weight"], read_state(fresh.run, 1)["module_list.0.weight"]
    )


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, functools.partial(torch.optim.SGD, momentum=0.9)])
def test_longer_training_of_a_published_zoo(tmp_path: Path, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    """By either engine the same, which go on with the optimizer that lies beside the state."""
    root = raw.released(tmp_path / "raw", models=1)
    [run] = [path for path in root.iterdir() if path.is_dir()]
    is_adam = optimizer is torch.optim.Adam
    own = raw.params(**{"optim::optimizer": "adam" if is_adam else "sgd", "training::batchsize": 20})
    paths.params(run).write_text(json.dumps(own))
    raw.write_optimizers(run, optimizer)
    typed = [f"optim={'adam' if is_adam else 'sgd'}", "optim.lr=0.01", "batch_size=${parent:batch_size}"]
    nodes = [
        children(tmp_path / engine, root, "init.model=0", f"engine={engine}", *typed, *fresh)[0]
        for engine in ("auto", "torch")
        for fresh in ([], ["init.optimizer=false"])
    ]
    assert torch.equal(
        read_state(nodes[0].run, 0)["module_list.0.weight"],
        torch.load(paths.checkpoint(run, 2))["module_list.0.weight"],
    )
    on, fresh, torch_on, _ = [read_state(node.run, 2) for node in nodes]
    for key, value in on.items():
        assert torch.allclose(value, torch_on[key], atol=1e-4)
    assert max((on[key] - fresh[key]).abs().max() for key in on) > 1e-3
    step = read_training_state(nodes[0].run, 2)["optimizer"]["state"][0]["step"]
    assert step == (6 if is_adam else 4)  # 2 steps and 2 epochs of 40 images in batches of 20; SGD counts none


def test_a_schedule_starts_anew(zoo: Path, tmp_path: Path) -> None:
    [node] = children(tmp_path, zoo, "init.model=0", "schedule=one_cycle", "optim.lr=0.01")
    saved = read_training_state(node.run, 2)
    assert node.config["init"]["optimizer"]
    assert saved["schedule"]["last_epoch"] == 8 and saved["schedule"]["total_steps"] == 8
    assert saved["optimizer"]["param_groups"][0]["max_lr"] == 0.01


@pytest.mark.parametrize("epoch", [1, 3])
def test_models_of_a_pack_start_each_from_its_own_state(zoo: Path, tmp_path: Path, epoch: int) -> None:
    typed = [f"init.epoch={epoch}", "init.model=range(0,4)", "seed=5"]
    alone = children(tmp_path / "alone", zoo, *typed)
    together = [Node({**node.config, "sweeps": f"{tmp_path}/together/sweeps"}, node.overrides) for node in alone]
    assert len({pack_key(node) for node in together}) == 1
    prepare(together)
    train(together, paths.images(together[0].sweep))
    for node, twin in zip(together, alone, strict=True):
        assert_same_states(node.run, twin.run, epochs=2)
    dataset = ZooDataset(zoo)
    for node in together:
        parent = dataset.state_dict(node.config["init"]["model"], epoch)
        assert all(map(torch.equal, read_state(node.run, 0).values(), parent.values()))


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_an_interrupted_run_goes_on_without_the_zoo(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """Once it has an epoch of its own; before, it is clear what is missing."""
    [whole] = children(tmp_path / "whole", zoo, "init.model=0", f"engine={engine}")
    moved = shutil.copytree(zoo, tmp_path / "moved")
    save = Recorder.save
    saved: list[object] = []

    def interrupted(self: Recorder, module: object) -> None:
        if len(saved) == stop_after:
            raise Interruption
        saved.append(module)
        save(self, module)

    monkeypatch.setattr(Recorder, "save", interrupted)
    for stop_after in (1, 2):
        saved.clear()
        with pytest.raises(Interruption):
            children(tmp_path / f"broken{stop_after}", moved, "init.model=0", f"engine={engine}")
    shutil.rmtree(moved)
    stop_after = 9
    begun, further = (
        Node(
            {
                **whole.config,
                "sweeps": f"{tmp_path}/broken{stop}/sweeps",
                "init": {**whole.config["init"], "zoo": str(moved)},
            }
        )
        for stop in (1, 2)
    )
    train([further], paths.images(whole.sweep))
    assert_same_states(further.run, whole.run, epochs=2)
    with pytest.raises(ZooError, match=f"init.zoo={moved} is no zoo here"):
        train([begun], paths.images(whole.sweep))


def test_the_lineage_is_kept(zoo: Path, tmp_path: Path) -> None:
    nodes = children(tmp_path, zoo, "init.model=0,1", "init.epoch=2,3")
    for node in nodes:
        params = json.loads(paths.params(node.run).read_text())
        parent = params["parent"]
        assert (parent["zoo"], parent["path"]) == ("tiny", str(zoo))
        assert (parent["node"], parent["epoch"]) == (params["init.model"], params["init.epoch"])
        assert parent["state_sha256"] == params["config"]["init"]["_state_sha256"]
        assert (parent["optimizer_sha256"] is not None) == (parent["epoch"] == 3) == params["init.optimizer"]
        assert "zoo" not in params["config"]["init"]
        assert read_records(node.run)[0]["test_acc"] == accuracy(zoo, parent["node"], parent["epoch"])
    make_zoo(nodes[0].sweep, tmp_path / "grown")
    models = pd.read_csv(paths.models(tmp_path / "grown"))
    names = pd.read_csv(paths.models(zoo))["node"]
    assert models["init.model"].tolist() == [names[0], names[0], names[1], names[1]]
    assert models["init.epoch"].tolist() == [2, 3, 2, 3]
    readme = paths.readme(tmp_path / "grown").read_text()
    assert "- training went on from states of other zoos: 4 models from `tiny`" in readme


def accuracy(zoo: Path, node: str, epoch: int) -> float:
    properties = ZooDataset(zoo, epochs=epoch).properties
    return properties.loc[properties["node"] == node, "test_acc"].item()


def test_children_have_children(zoo: Path, tmp_path: Path) -> None:
    """Steps and epochs count on from generation to generation."""
    typed = ["seed=2", "model.dropout=0.5"]
    [longer] = train_sweep(tmp_path / "longer", *typed, "trainer.max_epochs=7")
    [child] = children(tmp_path / "child", zoo, "init.model=*dropout0.5_seed2*", *typed)
    make_zoo(child.sweep, tmp_path / "second")
    [grandchild] = children(tmp_path / "grandchild", tmp_path / "second", "init.model=0", *typed)
    assert grandchild.config["init"]["_steps"] == 20 and grandchild.config["init"]["_epochs"] == 5
    state, expected = read_state(grandchild.run, 2), read_state(longer.run, 7)
    assert all(torch.equal(state[key], expected[key]) for key in expected)

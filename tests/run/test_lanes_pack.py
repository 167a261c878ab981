"""Packs: a model does not depend on its pack, nor its files on how it was trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import prepare
from tests.run.test_run import assert_same_states
from zoo.data.images import Images, Split
from zoo.disk import files, paths
from zoo.engines import lanes
from zoo.format.record import load, read_records, read_state
from zoo.models.evaluate import evaluate
from zoo.node.build import build_model
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.run.engine import unsupported
from zoo.run.lanes_pack import LanesPack, right_among
from zoo.run.run import from_common_epochs, train
from zoo.run.torch_pack import TorchPack

pytestmark = pytest.mark.skipif(not lanes.available(), reason="the CPU engine was not built here")

PACK = ["seed=range(0,5)", "optim.lr=1e-2,1e-3", "model.dropout=0.2,0.5", "trainer.max_epochs=3"]


@pytest.fixture
def nodes(grid: Callable[..., Grid], tmp_path: Path) -> Callable[..., list[Node]]:
    """`nodes(name, *overrides)`: the nodes of a prepared sweep of that name."""

    def nodes(name: str, *overrides: str) -> list[Node]:
        places = [f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", f"zoo.name={name}"]
        return prepare(grid(*places, *overrides), [name])

    return nodes


def train_together(nodes: list[Node]) -> None:
    train(nodes, paths.images(nodes[0].sweep))


def test_a_model_does_not_depend_on_its_pack(nodes: Callable[..., list[Node]]) -> None:
    together, alone, reversed_ = (nodes(name, *PACK) for name in ("together", "alone", "reversed"))
    train_together(together)
    for node in alone[::3]:
        train_together([node])
    train_together(reversed_[::-1][3:])
    for node, single in zip(together[::3], alone[::3], strict=True):
        assert_same_states(node.run, single.run, 3)
    for node, other in list(zip(together, reversed_, strict=True))[:-3]:
        assert_same_states(node.run, other.run, 3)


@pytest.mark.parametrize("optim", [pytest.param("adam", marks=pytest.mark.slow), "sgd", "rmsprop"])
def test_a_pack_goes_on_from_where_all_its_models_can(nodes: Callable[..., list[Node]], optim: str) -> None:
    """Interrupted while the second epoch's records are written: some models have theirs, others don't."""
    pack = [*PACK, f"optim={optim}", *(["seed=0,1"] if optim != "adam" else [])]  # adam's is wider than the lanes
    whole, broken = (nodes(name, *pack) for name in ("whole", "broken"))
    train_together(whole)
    for node, twin in zip(broken, whole, strict=True):
        shutil.copytree(twin.run, node.run)
    for index, node in enumerate(broken):
        lines = paths.result(node.run).read_text().splitlines(keepends=True)
        paths.result(node.run).write_text("".join(lines[: 3 if index % 3 else 2]))
        for epoch in (2, 3):  # epoch 1's optimizer state would still be there
            paths.optimizer(node.run, epoch).unlink(missing_ok=True)
        paths.checkpoint(node.run, 3).unlink()
    # make epoch 1's optimizer states by training that far again
    partial = nodes("partial", *pack)
    stop_after(partial, epochs=1)
    for node, source in zip(broken, partial, strict=True):
        paths.optimizer(node.run, 1).write_bytes(paths.optimizer(source.run, 1).read_bytes())
    [(epoch, members)] = from_common_epochs(broken)
    assert epoch == 1 and len(members) == len(broken)
    train_together(broken)
    for node, twin in zip(broken, whole, strict=True):
        assert_same_states(node.run, twin.run, 3)
        assert [record["training_iteration"] for record in read_records(node.run)] == [0, 1, 2, 3]
        assert len(list(node.run.glob("*/optimizer"))) == 1


def stop_after(nodes: list[Node], epochs: int) -> None:
    """Train these nodes' first epochs only, as an interruption would leave them."""
    images = Images.load(paths.images(nodes[0].sweep))
    models = [build_model(node.config) for node in nodes]
    pack = LanesPack(nodes, models, images)
    for epoch in range(epochs):
        [orders] = pack.train_dataloader()
        pack.training_step(orders, epoch)
    for node, state in zip(nodes, pack.training_states(), strict=True):
        files.write_torch(paths.optimizer(node.run, epochs), state)


@pytest.mark.parametrize("optim", ["adam", "sgd", "rmsprop"])
def test_optimizer_states_are_pytorchs(nodes: Callable[..., list[Node]], optim: str) -> None:
    """What the engine leaves loads into torch.optim, and PyTorch goes on from there as the engine does."""
    [node] = nodes("engine", "trainer.max_epochs=3", f"optim={optim}")
    stop_after([node], epochs=1)
    saved = load(paths.optimizer(node.run, 1))
    train_together([node])
    pack = TorchPack(node, build_model(node.config), Images.load(paths.images(node.sweep)), epoch=1)
    pack.load([read_state(node.run, 1)], [saved])
    [orders] = pack.train_dataloader()
    pack.training_step(orders, 0)
    for key, value in read_state(node.run, 2).items():
        np.testing.assert_allclose(pack.states()[0][key], value, rtol=1e-4, atol=1e-5)


def test_a_diverging_model_leaves_its_neighbours_alone(nodes: Callable[..., list[Node]]) -> None:
    overrides = ["model.activation=relu", "init=normal", "optim=sgd", "trainer.max_epochs=3", "seed=0,1"]
    mixed = nodes("mixed", *overrides, "optim.lr=1e-4,1e20")
    calm = nodes("calm", *overrides, "optim.lr=1e-4")
    train_together(mixed)
    train_together(calm)
    for node in calm:
        assert_same_states(node.run, mixed[0].sweep / node.run.name, 3)
    for node in mixed:
        records = read_records(node.run)
        assert records[-1]["diverged"] == (node.config["optim"]["lr"] > 1)
        assert (len(records) < 4) == (node.config["optim"]["lr"] > 1)


@pytest.mark.parametrize("shift", [0.0, 1e-6])
def test_near_ties_are_decided_as_pytorch_does(nodes: Callable[..., list[Node]], shift: float) -> None:
    """A last layer whose logits are all but equal: the accuracy is PyTorch's all the same."""
    [node] = nodes("ties", "seed=1")
    model = build_model(node.config)
    with torch.no_grad():
        model.module_list[-1].weight.mul_(shift)
    pack = LanesPack([node], [model], Images.load(paths.images(node.sweep)))
    images = torch.randn(700, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(700) % 10)
    [(_, accuracy)] = pack.evaluate_on(split)
    assert accuracy == evaluate(model, split)[1]
    [(_, accuracy)] = pack.evaluate_on(Split(split.images[:100], split.labels[:100]))
    assert accuracy == evaluate(model, Split(split.images[:100], split.labels[:100]))[1]


def test_a_near_tie_alone_is_decided_as_among_all_images(nodes: Callable[..., list[Node]]) -> None:
    """All but the same rows of the last layer: which logit is the largest, rounding alone decides."""
    [node] = nodes("ties", "seed=1")
    model = build_model(node.config)
    last = model.module_list[-1]
    draws = torch.Generator().manual_seed(0)
    images = torch.randn(500, 1, 28, 28, generator=draws)
    with torch.no_grad():
        last.weight.copy_(last.weight[:1] * (1 + 1e-7 * torch.randn(last.weight.shape, generator=draws)))
        last.bias.zero_()
        among_all = model.eval()(images).argmax(1)
        assert (torch.cat([model(image[None]) for image in images]).argmax(1) != among_all).any()
    split, same = Split(images, among_all), np.zeros(1, dtype=np.uint64)
    assert all(right_among(model, split, np.array([index]), same) == 1 for index in range(len(images)))


def test_files_are_those_of_a_run_through_pytorch(nodes: Callable[..., list[Node]]) -> None:
    [engine], [plain] = nodes("engine", "seed=4", "engine=auto"), nodes("plain", "seed=4", "engine=torch")
    train_together([engine])
    train_together([plain])
    names = [sorted(str(p.relative_to(node.run)) for p in node.run.rglob("*")) for node in (engine, plain)]
    assert names[0] == names[1]
    for epoch, tolerance in ((0, 0), (1, 1e-4)):
        for ours, theirs in zip(
            read_state(engine.run, epoch).items(), read_state(plain.run, epoch).items(), strict=True
        ):
            assert ours[0] == theirs[0] and ours[1].dtype == theirs[1].dtype
            np.testing.assert_allclose(ours[1], theirs[1], rtol=tolerance, atol=tolerance)
    ours, theirs = (json.loads(paths.result(node.run).read_text().splitlines()[-1]) for node in (engine, plain))
    assert ours.keys() == theirs.keys() and ours["config"] == theirs["config"]


@pytest.mark.parametrize("optim", ["adam", "sgd", "rmsprop"])
def test_both_engines_train_the_same_member_of_the_population(nodes: Callable[..., list[Node]], optim: str) -> None:
    """20 steps with dropout: the same data order, the same masks, the same weights up to rounding."""
    overrides = ["seed=7", "model.dropout=0.5", "batch_size=4", "trainer.max_epochs=2", f"optim={optim}"]
    [engine], [plain] = nodes("engine", *overrides), nodes("plain", *overrides, "engine=torch")
    assert unsupported(engine) is None and unsupported(plain) == "engine=torch"
    train_together([engine])
    train_together([plain])
    for key, value in read_state(engine.run, 2).items():
        np.testing.assert_allclose(value, read_state(plain.run, 2)[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optim", ["adam", "sgd", "rmsprop"])
def test_what_an_optimizer_is_not_given_is_pytorchs_default(nodes: Callable[..., list[Node]], optim: str) -> None:
    lacking = ["~optim.lr", "~optim.weight_decay", *(["~optim.momentum"] if optim != "adam" else [])]
    [engine], [plain] = (
        nodes(name, f"optim={optim}", *lacking, "trainer.max_epochs=1", f"engine={name}") for name in ("auto", "torch")
    )
    assert unsupported(engine) is None
    train_together([engine])
    train_together([plain])
    for key, value in read_state(engine.run, 1).items():
        np.testing.assert_allclose(value, read_state(plain.run, 1)[key], rtol=1e-4, atol=1e-6)

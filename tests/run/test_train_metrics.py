"""Metrics of the training images: of the epoch's own steps or of its state, the same through both engines."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.conftest import prepare, train_sweep
from tests.run.test_run import assert_same_states
from tests.run.test_torch_pack import with_masks
from zoo.analyze import make_zoo
from zoo.data.images import Images, Split
from zoo.disk import paths
from zoo.engines import lanes
from zoo.errors import ZooError
from zoo.format.record import Record, read_records, read_state
from zoo.models.evaluate import evaluate
from zoo.node.build import build_model
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.random import data_order
from zoo.run import lanes_pack, torch_pack
from zoo.run.run import train

pytestmark = pytest.mark.usefixtures("without_drawing")

ENGINES = ["auto", "torch"]
EXACT = "train_metrics=exact"


@pytest.fixture
def trained(grid: Callable[..., Grid], tmp_path: Path) -> Callable[..., Node]:
    """`trained(name, *overrides)`: a node with dropout, trained in a sweep of that name."""

    def trained(name: str, *overrides: str) -> Node:
        places = [f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", f"zoo.name={name}"]
        [node] = prepare(grid(*places, "seed=3", "model.dropout=0.5", "batch_size=7", *overrides))
        train([node], paths.images(node.sweep))
        return node

    return trained


def measured(node: Node, epoch: int) -> tuple[float | None, float | None]:
    """PyTorch's loss and accuracy of a state on the training images."""
    model = build_model(node.config)
    model.load_state_dict(read_state(node.run, epoch))
    return evaluate(model, Images.load(paths.images(node.sweep)).trainset)


def plain_steps(node: Node, epoch: int, batches: int | None = None) -> tuple[float, float]:
    """Mean loss and share right of an epoch's own steps, by a plain loop from the state before them."""
    model = build_model(node.config)
    optimizer = torch.optim.SGD(model.parameters(), lr=node.config["optim"]["lr"])
    model.load_state_dict(read_state(node.run, epoch - 1))
    images = Images.load(paths.images(node.sweep)).trainset
    size = node.config["batch_size"]
    order = torch.from_numpy(data_order(3, epoch, len(images)))[: batches and batches * size]
    steps = -(-len(order) // size)
    loss, correct = 0.0, 0
    for number, indices in enumerate(order.split(size), start=(epoch - 1) * steps):
        logits, labels = with_masks(model.module_list, images.images[indices], number), images.labels[indices]
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += int((logits.argmax(1) == labels).sum())
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
    return loss / len(order), correct / len(order)


PLAIN = ["optim=sgd", "optim.momentum=0", "optim.lr=0.05", "trainer.max_epochs=2"]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batches", [None, 2])
def test_running_metrics_are_those_of_a_plain_loop(
    trained: Callable[..., Node], engine: str, batches: int | None
) -> None:
    limit = [f"+trainer.limit_train_batches={batches}"] * bool(batches)
    node = trained("sweep", *PLAIN, f"engine={engine}", *limit)
    for epoch, record in enumerate(read_records(node.run)[1:], start=1):
        loss, accuracy = plain_steps(node, epoch, batches)
        assert record["train_loss"] == pytest.approx(loss, rel=1e-4) and record["train_acc"] == accuracy


@pytest.mark.parametrize("engine", ENGINES)
def test_epoch_0_is_exact(trained: Callable[..., Node], engine: str) -> None:
    node = trained("sweep", "trainer.max_epochs=1", f"engine={engine}")
    loss, accuracy = measured(node, 0)
    first = read_records(node.run)[0]
    assert first["train_loss"] == pytest.approx(loss, rel=1e-5) and first["train_acc"] == accuracy


@pytest.mark.parametrize("engine", ENGINES)
def test_exact_metrics_are_of_the_state(trained: Callable[..., Node], engine: str) -> None:
    node = trained("sweep", "trainer.max_epochs=2", f"engine={engine}", EXACT)
    for epoch, record in enumerate(read_records(node.run)):
        loss, accuracy = measured(node, epoch)
        assert record["train_loss"] == pytest.approx(loss, rel=1e-5) and record["train_acc"] == accuracy


@pytest.mark.skipif(not lanes.available(), reason="the CPU engine was not built here")
@pytest.mark.parametrize("optim", ["adam", "sgd", "rmsprop"])
def test_both_engines_record_the_same(trained: Callable[..., Node], optim: str) -> None:
    ours, theirs = (
        read_records(trained(f"{engine}", f"engine={engine}", f"optim={optim}", "trainer.max_epochs=2").run)
        for engine in ENGINES
    )
    for record, twin in zip(ours, theirs, strict=True):
        assert record["train_loss"] == pytest.approx(twin["train_loss"], rel=1e-4)
        assert record["train_acc"] == pytest.approx(twin["train_acc"], abs=1 / 30)  # one image, where rounding decides


@pytest.mark.parametrize("engine", ENGINES)
def test_training_images_are_evaluated_at_epoch_0_alone(
    trained: Callable[..., Node], monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    seen: list[int] = []

    def noted(model: nn.Module, split: Split, batch: int = 500) -> tuple[float | None, float | None]:
        seen.append(len(split))
        return 1.0, 0.5

    monkeypatch.setattr(torch_pack, "evaluate", noted)
    monkeypatch.setattr(
        lanes_pack.LanesPack, "evaluate_on", lambda pack, split: [noted(model, split) for model in pack.models]
    )
    node = trained("sweep", "trainer.max_epochs=2", f"engine={engine}")
    images = Images.load(paths.images(node.sweep))
    train, val, test = (len(split) for split in (images.trainset, images.valset, images.testset))
    assert seen == [train, val, test, val, test, val, test]


def test_what_is_recorded_changes_no_weight(trained: Callable[..., Node]) -> None:
    running, exact = trained("running", "trainer.max_epochs=1"), trained("exact", "trainer.max_epochs=1", EXACT)
    assert running.name != exact.name
    assert_same_states(running.run, exact.run, 1)


def test_one_sweep_never_mixes_them(trained: Callable[..., Node]) -> None:
    node = trained("sweep", "trainer.max_epochs=1")
    assert json.loads(paths.config(node.sweep).read_text())["protocol"]["train_metrics"] == "running"
    assert json.loads(paths.params(node.run).read_text())["train_metrics"] == "running"
    with pytest.raises(ZooError, match="would hold models of different train_metrics: running, exact"):
        trained("sweep", "trainer.max_epochs=1", EXACT)
    paths.config(node.sweep).write_text("damaged")  # the runs still tell
    with pytest.raises(ZooError, match="would hold models of different train_metrics: running, exact"):
        trained("sweep", "trainer.max_epochs=1", EXACT)


def test_a_sweep_that_does_not_say_is_exact(trained: Callable[..., Node]) -> None:
    node = trained("sweep", "trainer.max_epochs=1", EXACT)
    for path in (paths.config(node.sweep), paths.params(node.run)):
        content = json.loads(path.read_text())
        for values in (content, content.get("config", {}), content.get("protocol", {})):
            values.pop("train_metrics", None)
        path.write_text(json.dumps(content))
    with pytest.raises(ZooError, match="would hold models of different train_metrics: exact, running"):
        trained("sweep", "trainer.max_epochs=2")
    trained("sweep", "trainer.max_epochs=2", EXACT)
    assert json.loads(paths.config(node.sweep).read_text())["protocol"]["train_metrics"] == "exact"
    assert len(read_records(node.run)) == 3


@pytest.mark.parametrize(("choice", "text"), [("running", "are running\nmeans"), ("exact", "All metrics are of the")])
def test_a_zoo_says_which(tmp_path: Path, choice: str, text: str) -> None:
    [node] = train_sweep(tmp_path, "trainer.max_epochs=1", f"train_metrics={choice}")
    make_zoo(node.sweep, tmp_path / "zoo")
    assert text in paths.readme(tmp_path / "zoo").read_text()
    assert json.loads(paths.config(tmp_path / "zoo").read_text())["protocol"]["train_metrics"] == choice


def test_a_run_of_other_metrics_is_left_out_of_a_zoo(tmp_path: Path) -> None:
    first, second = train_sweep(tmp_path, "trainer.max_epochs=1", "seed=0,1")
    content = json.loads(paths.params(second.run).read_text())
    paths.params(second.run).write_text(json.dumps(content | {"train_metrics": "exact"}))
    summary = make_zoo(first.sweep, tmp_path / "zoo")
    assert summary["models"] == 1
    assert "has other train_metrics than" in summary["missing"][second.name]


def test_an_unknown_choice_is_refused(trained: Callable[..., Node]) -> None:
    with pytest.raises(ZooError, match="unknown train_metrics=both: choose from running, exact"):
        trained("sweep", "train_metrics=both")


def test_a_diverging_models_running_loss_is_null(trained: Callable[..., Node]) -> None:
    overrides = ["optim=sgd", "optim.lr=1e20", "init=normal", "model.activation=relu", "trainer.max_epochs=2"]
    for engine in ENGINES:
        record: Record = read_records(trained(engine, *overrides, f"engine={engine}").run)[-1]
        assert record["diverged"] and record["train_loss"] is None and 0 <= record["train_acc"] <= 1

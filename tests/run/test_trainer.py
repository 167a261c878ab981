"""What Lightning's callbacks, loggers and profilers see of a training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy

from tests.conftest import prepare
from zoo.analyze import make_zoo
from zoo.dataset.dataset import ZooDataset
from zoo.disk import paths
from zoo.engines import lanes
from zoo.errors import ZooError
from zoo.format.record import ACCURACIES, LOSSES, read_records, read_state
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.run.run import train

Nodes = Callable[..., list[Node]]


class Watcher(pl.Callback):
    """Keeps what callbacks see."""

    seen: list[tuple[int, dict[str, float]]] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        self.seen.append((trainer.current_epoch, metrics))


class Stopper(pl.Callback):
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True


WATCHER = f"+trainer.callbacks=[{{_target_: {__name__}.Watcher}}]"


@pytest.fixture
def nodes(grid: Callable[..., Grid], tmp_path: Path) -> Nodes:
    """`nodes(*overrides)`: the nodes of a prepared sweep."""

    def nodes(*overrides: str) -> list[Node]:
        places = [f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", "zoo.name=tiny"]
        return prepare(grid(*places, *overrides), ["typed"])

    return nodes


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, dict[str, float]]]:
    monkeypatch.setattr(Watcher, "seen", [])
    return Watcher.seen


def train_all(nodes: list[Node]) -> None:
    train(nodes, paths.images(nodes[0].sweep))


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_callbacks_see_the_metrics_of_a_model(nodes: Nodes, seen: list[Any], engine: str) -> None:
    [node] = nodes("trainer.max_epochs=2", f"engine={engine}", WATCHER)
    train_all([node])
    records = read_records(node.run)
    assert [epoch for epoch, _ in seen] == [0, 1]
    for (_, metrics), record in zip(seen, records[1:], strict=True):
        for key in (*LOSSES, *ACCURACIES):
            assert metrics[key] == pytest.approx(record[key], rel=1e-6)


@pytest.mark.skipif(not lanes.available(), reason="the CPU engine was not built here")
def test_watching_callbacks_see_the_metrics_of_every_model_of_a_pack(
    nodes: Nodes, seen: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pl.callbacks.ModelSummary, "on_train_epoch_end", Watcher.on_train_epoch_end)
    monkeypatch.setattr(pl.callbacks.ModelSummary, "seen", seen, raising=False)
    three = nodes(
        "trainer.max_epochs=1", "seed=0,1,2", "+trainer.callbacks={_target_: pytorch_lightning.callbacks.ModelSummary}"
    )
    train_all(three)
    [(_, metrics)] = seen
    for node in three:
        assert metrics[f"test_acc/{node.name}"] == pytest.approx(read_records(node.run)[1]["test_acc"])
    assert "test_acc" not in metrics


def test_callbacks_count_the_epochs_on(nodes: Nodes, seen: list[Any]) -> None:
    train_all(nodes("trainer.max_epochs=2", WATCHER))
    train_all(nodes("trainer.max_epochs=3", WATCHER))
    assert [epoch for epoch, _ in seen] == [0, 1, 2]


def test_a_logger_writes_every_epoch_to_the_runs_folder(nodes: Nodes, tmp_path: Path) -> None:
    logger = "trainer.logger={_target_: pytorch_lightning.loggers.CSVLogger}"
    two = nodes("trainer.max_epochs=2", "seed=0,1", "engine=torch", logger)
    train_all(two)
    for node in two:
        [table] = node.run.glob("lightning_logs/*/metrics.csv")
        rows = pd.read_csv(table).set_index("step")
        for record in read_records(node.run):
            assert rows.loc[record["training_iteration"], "test_acc"] == pytest.approx(record["test_acc"], rel=1e-6)
        assert len(rows) == 3
    make_zoo(two[0].sweep, tmp_path / "zoo")
    assert len(ZooDataset(tmp_path / "zoo")) == 6
    assert not list((tmp_path / "zoo").rglob("lightning_logs"))


def test_a_loggers_own_folder_is_kept(nodes: Nodes, tmp_path: Path) -> None:
    logger = f"{{_target_: pytorch_lightning.loggers.CSVLogger, save_dir: {tmp_path}/logs, name: mine}}"
    train_all(nodes("trainer.max_epochs=1", f"trainer.logger=[{logger}]"))
    assert (tmp_path / "logs/mine/version_0/metrics.csv").exists()


def test_a_profiler_writes_to_the_runs_folder(nodes: Nodes) -> None:
    [node] = nodes("trainer.max_epochs=1", "+trainer.profiler=simple")
    train_all([node])
    assert "run_training_epoch" in (node.run / "fit-profile.txt").read_text()


class Scaler(pl.Callback):
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] *= 0.0


def test_a_callback_of_ones_own_changes_the_model_whatever_the_engine(nodes: Nodes) -> None:
    [node] = nodes("trainer.max_epochs=1", f"+trainer.callbacks={{_target_: {__name__}.Scaler}}")
    train_all([node])
    before, after = (read_state(node.run, epoch) for epoch in (0, 1))
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_callback_that_stops_the_training_is_an_error(nodes: Nodes) -> None:
    [node] = nodes("trainer.max_epochs=3", f"+trainer.callbacks=[{{_target_: {__name__}.Stopper}}]")
    with pytest.raises(ZooError, match="trainer.callbacks: one of them stopped the training after epoch 1, and all"):
        train_all([node])
    assert len(read_records(node.run)) == 2


def test_what_a_run_was_is_loaded_after_its_model_has_moved(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, a fused optimizer's states would stay where PyTorch can't use them on a GPU."""
    moments: list[str] = []
    for owner, method in ((SingleDeviceStrategy, "model_to_device"), (torch.optim.Adam, "load_state_dict")):
        monkeypatch.setattr(owner, method, noting(moments, method, getattr(owner, method)))
    train_all(nodes("trainer.max_epochs=1", "engine=torch"))
    assert moments == ["model_to_device"]
    train_all(nodes("trainer.max_epochs=2", "engine=torch"))
    assert moments[1:] == ["model_to_device", "load_state_dict"]


def noting(moments: list[str], name: str, method: Callable[..., None]) -> Callable[..., None]:
    def noted(*arguments: Any) -> None:
        moments.append(name)
        method(*arguments)

    return noted


def test_watching_changes_no_weight(nodes: Nodes, tmp_path: Path, grid: Callable[..., Grid], seen: list[Any]) -> None:
    [watched] = nodes("trainer.max_epochs=1", WATCHER, "trainer.logger=true")
    train_all([watched])
    places = [f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", "zoo.name=plain"]
    [plain] = prepare(grid(*places, "trainer.max_epochs=1", "engine=torch"))
    assert watched.name != plain.name  # for all that can be known before
    train_all([plain])
    for key, value in read_state(plain.run, 1).items():
        assert torch.equal(value, read_state(watched.run, 1)[key])

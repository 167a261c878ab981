"""A run: what it leaves on disk, the same bits every time, resumption, refusals."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.conftest import train_sweep
from zoo.data.images import Images
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.record import read_records, read_state
from zoo.models.evaluate import evaluate
from zoo.node.build import build_model
from zoo.run.recorder import Recorder

METRICS = [f"{split}_{metric}" for split in ("train", "val", "test") for metric in ("loss", "acc")]


def states(run: Path, epochs: int) -> list[dict[str, torch.Tensor]]:
    return [read_state(run, epoch) for epoch in range(epochs + 1)]


def assert_same_states(run: Path, other: Path, epochs: int) -> None:
    for state, twin in zip(states(run, epochs), states(other, epochs), strict=True):
        assert state.keys() == twin.keys()
        assert all(torch.equal(state[key], twin[key]) for key in state)


def test_what_a_run_leaves(sweep: Path) -> None:
    for run in sweep.glob("*/"):
        params = json.loads(paths.params(run).read_text())
        assert params["node"] == run.name
        records = [json.loads(line) for line in paths.result(run).read_text().splitlines()]
        assert [record["training_iteration"] for record in records] == [0, 1, 2, 3]
        assert all(isinstance(record[metric], float) for record in records for metric in METRICS)
        assert all(record["config"]["model::dropout"] == params["model.dropout"] for record in records)
        assert records[-1]["time_total_s"] == pytest.approx(sum(record["time_this_iter_s"] for record in records))
        assert records[0]["time_steps_s"] == 0
        assert all(0 < record["time_steps_s"] < record["time_this_iter_s"] for record in records[1:])
        left = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
        states = [f"checkpoint_{epoch:06d}/checkpoints" for epoch in range(4)]
        others = ["checkpoint_000003/optimizer", "environment.json", "params.json", "result.json"]
        assert left == sorted([*states, *others])


def test_the_record_is_of_the_state_beside_it(sweep: Path) -> None:
    run = next(run for run in sweep.glob("*dropout0.5*/"))
    images = Images.load(paths.images(sweep))
    for epoch, record in enumerate(read_records(run)):
        model = build_model(json.loads(paths.params(run).read_text())["config"])
        model.load_state_dict(read_state(run, epoch))
        for split in ("train", "val", "test")[epoch > 0 :]:  # train: see test_train_metrics.py
            loss, accuracy = evaluate(model, getattr(images, f"{split}set"))
            assert record[f"{split}_loss"] == pytest.approx(loss, rel=1e-5)
            assert record[f"{split}_acc"] == accuracy


def test_epoch_0_is_the_initialisation_and_training_learns(sweep: Path) -> None:
    for run in sweep.glob("*dropout0_*/"):
        model = build_model(json.loads(paths.params(run).read_text())["config"])
        assert all(torch.equal(read_state(run, 0)[key], value) for key, value in model.state_dict().items())
        first, *_, last = read_records(run)
        assert last["train_loss"] < first["train_loss"]


def test_the_same_command_twice_gives_the_same_bits(sweep: Path, tmp_path: Path) -> None:
    nodes = train_sweep(tmp_path, "seed=2", "model.dropout=0,0.5", "trainer.max_epochs=3")
    for node in nodes:
        assert_same_states(node.run, sweep / node.run.name, epochs=3)


class Interruption(BaseException):
    """As a killed process: nobody handles it."""


@pytest.mark.parametrize("overrides", [["model.dropout=0.5"], ["optim=sgd", "schedule=one_cycle"]])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_run_goes_on_to_the_same_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, overrides: list[str]
) -> None:
    """Stopped before or after an epoch's files are written, at every epoch in turn."""
    [whole] = train_sweep(tmp_path / "whole", "trainer.max_epochs=3", *overrides)
    save = Recorder.save

    def interrupted(self: Recorder, module: object) -> None:
        if moment == "after":
            save(self, module)
        if (tmp_path / "stop").exists():
            (tmp_path / "stop").unlink()
            raise Interruption
        if moment == "before":
            save(self, module)
        (tmp_path / "stop").touch()

    monkeypatch.setattr(Recorder, "save", interrupted)
    (tmp_path / "stop").touch()
    stops = 0
    for _ in range(10):
        try:
            [node] = train_sweep(tmp_path / "broken", "trainer.max_epochs=3", *overrides)
            break
        except Interruption:
            stops += 1
    assert 1 < stops < 10
    assert_same_states(node.run, whole.run, epochs=3)
    without_time = [
        {key: value for key, value in record.items() if not key.startswith("time")} for record in read_records(node.run)
    ]
    for record, twin in zip(without_time, read_records(whole.run), strict=True):
        assert record.items() <= twin.items()
    assert [path.name for path in sorted(node.run.glob("*/optimizer"))] == ["optimizer"]


def test_a_finished_run_is_left_alone(sweep: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in sweep.rglob("*") if path.is_file() and path.parent != sweep}
    train_sweep(sweep.parent.parent, "seed=range(0,4)", "model.dropout=0,0.5", "trainer.max_epochs=3")
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_directory_with_another_config_is_refused(sweep: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sweep.parent.parent, tmp_path / "copy")
    first, second = sorted((folder / "sweeps/tiny").glob("*dropout0_*seed[01]*/"))
    shutil.rmtree(first)
    second.rename(first)
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    with pytest.raises(ZooError, match=rf"{first} holds another config: .*seed=1 there, 0 here"):
        train_sweep(folder, "seed=0", "trainer.max_epochs=3")
    assert before == {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}


def test_damaged_files_are_named(sweep: Path, tmp_path: Path) -> None:
    run = shutil.copytree(next(sweep.glob("*/")), tmp_path / "run")
    checkpoint = paths.checkpoint(run, 1)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ZooError, match=f"{checkpoint} is damaged"):
        read_state(run, 1)
    with pytest.raises(ZooError, match=f"{paths.checkpoint(run, 9)} is missing"):
        read_state(run, 9)
    paths.result(run).write_text(paths.result(run).read_text()[:-30])
    with pytest.raises(ZooError, match=rf"{paths.result(run)}, line 4 is damaged"):
        read_records(run)


def test_a_diverged_model_is_recorded_and_trained_no_further(tmp_path: Path) -> None:
    overrides = ["optim=sgd", "optim.lr=1e20", "init=normal", "model.activation=relu", "trainer.max_epochs=4"]
    [node] = train_sweep(tmp_path, *overrides)
    records = read_records(node.run)
    assert 1 < len(records) < 5 and records[-1]["diverged"] and not records[0]["diverged"]
    assert records[-1]["train_loss"] is None
    [node] = train_sweep(tmp_path, "stop_diverged=false", *overrides)
    assert len(read_records(node.run)) == 5

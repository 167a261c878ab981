"""Single runs, and jobs of Hydra's own launchers and sweepers, in this process."""

import atexit
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.run.test_run import assert_same_states
from tests.typed import InThisProcess, typed
from zoo.disk import locks, paths
from zoo.format.record import read_records
from zoo.run.pack import Pack
from zoo.run.recorder import Recorder

TINY = ["data=tiny", "zoo.name=tiny", "trainer.max_epochs=3", "data.cache=cache"]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str | int | None]:
    return lambda *arguments: typed(monkeypatch, tmp_path, "train", *TINY, *arguments)


def runs(tmp_path: Path, sweeps: str = "sweeps") -> list[Path]:
    return sorted(path.parent for path in tmp_path.glob(f"{sweeps}/tiny/*/result.json"))


def test_it_ends_by_saying_where_the_weights_are(
    command: Callable[..., object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command() is None
    [run] = runs(tmp_path)
    accuracy = read_records(run)[-1]["test_acc"]
    assert capsys.readouterr().out == f"sweeps/tiny/{run.name}: test accuracy {accuracy:.1%}\n"
    assert paths.checkpoint(run, 3).exists()
    assert (paths.hydra(run) / "config.yaml").exists() and (paths.hydra(run) / "overrides.yaml").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "sweeps"]


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_interrupted(
    command: Callable[..., object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: signal.Signals,
    engine: str,
) -> None:
    save = Recorder.save

    def interrupted(self: Recorder, pack: Pack) -> None:
        save(self, pack)
        if pack.epoch == 1:
            os.kill(os.getpid(), how)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "save", interrupted)
        assert command(f"engine={engine}") == 130
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    told = capsys.readouterr().err
    assert "Stopped: 0 runs done, 0 failed, 1 left" in told and "The same command again goes on from there" in told
    [run] = runs(tmp_path)
    assert len(read_records(run)) == 2
    assert command(f"engine={engine}") is None
    assert command(f"engine={engine}", "sweeps=undisturbed") is None
    assert_same_states(run, runs(tmp_path, "undisturbed")[0], 3)


def test_a_run_that_is_being_trained(command: Callable[..., object], tmp_path: Path) -> None:
    assert command() is None
    [run] = runs(tmp_path)
    with locks.locked(paths.lock(run)):
        assert str(command("trainer.max_epochs=4")).startswith(
            f"another process holds sweeps/tiny/{run.name}/.lock (process {os.getpid()} on "
        )


@pytest.mark.parametrize("launcher", [pytest.param("basic", marks=pytest.mark.slow), "zoo"])
def test_the_sweeper_of_hydra(
    command: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setattr("zoo.launch.local.LocalWorkers", InThisProcess)
    monkeypatch.setattr(atexit, "register", lambda function: None)
    assert command("-m", "hydra/sweeper=basic", f"hydra/launcher={launcher}", "seed=0,1", "sweeps=basic") is None
    assert paths.images(tmp_path / "basic/tiny").exists() and paths.config(tmp_path / "basic/tiny").exists()
    assert command("seed=0") is None and command("seed=1") is None
    for mine, alone in zip(runs(tmp_path, "basic"), runs(tmp_path), strict=True):
        assert_same_states(mine, alone, 3)


def test_without_images_to_test_on(
    command: Callable[..., object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("data.train=50", "data.test=0") is None
    [run] = runs(tmp_path)
    assert read_records(run)[-1]["test_acc"] is None
    assert f"{run.name}: validation accuracy " in capsys.readouterr().out


def test_a_preset_is_a_grid(command: Callable[..., object], tmp_path: Path) -> None:
    assert str(command("+zoo=mnist_seed")).startswith("+zoo=mnist_seed is a grid (seed=range(1,1001) ...): add -m")
    assert list(tmp_path.iterdir()) == []

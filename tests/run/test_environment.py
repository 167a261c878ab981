"""By what a run was trained: written once, and when it changes."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import train_sweep
from tests.run.test_resumption import COMMAND, interrupted, the_run
from zoo.data.images import Images
from zoo.disk import paths
from zoo.engines import lanes
from zoo.node.grid import Grid
from zoo.run import environment, recorder
from zoo.run.environment import commit, note
from zoo.run.run import threads_of
from zoo.run.torch_pack import TorchPack

__all__ = ["interrupted"]  # a fixture


def entries(run: Path) -> list[dict[str, Any]]:
    return json.loads(paths.environment(run).read_text())


def test_a_run_says_by_what_it_was_trained(sweep: Path) -> None:
    for run in sweep.glob("*/"):
        [entry] = entries(run)
        assert entry["epoch"] == 0
        assert entry["engine"] == ("lanes" if lanes.available() else "torch")
        assert entry["variant"] == (lanes.variants()[0] if lanes.available() else None)
        assert (entry["torch"], entry["numpy"]) == (torch.__version__, np.__version__)
        assert entry["images"] == Images.load(paths.images(sweep)).digest
        assert entry["device"] == "cpu" and entry["processor"] and entry["python"] and entry["model-zoos"]


def test_the_engine_is_what_trains(tmp_path: Path) -> None:
    [node] = train_sweep(tmp_path, "engine=torch", "trainer.max_epochs=1")
    [entry] = entries(node.run)
    assert (entry["engine"], entry["variant"]) == ("torch", None)


def test_a_large_model_of_its_own_has_several_threads(grid: Callable[..., Grid], tmp_path: Path) -> None:
    """Small ones, and those that the engine trains, are the same bits however many there are."""
    before = torch.get_num_threads()
    for overrides, expected in ((["model=resnet18"], 2), (["engine=torch"], 1), ([], 1)):
        [node] = grid(f"sweeps={tmp_path}", *overrides)
        assert threads_of(node, 2) == (expected if lanes.available() or overrides else 1)
    torch.set_num_threads(2)
    try:
        pack = TorchPack.__new__(TorchPack)
        torch.nn.Module.__init__(pack)
        pack._device = torch.device("cpu")
        assert environment.environment(pack)["threads"] == "2"
        torch.set_num_threads(1)
        assert "threads" not in environment.environment(pack)
    finally:
        torch.set_num_threads(before)


def test_a_change_within_a_run_is_noted(
    interrupted: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(interrupted, tmp_path / "copy")
    run, now = the_run(folder), environment.environment
    monkeypatch.setattr(recorder, "environment", lambda pack: now(pack) | {"torch": "9.9", "processor": "abacus"})
    train_sweep(folder, *COMMAND)
    first, second = entries(run)
    assert first["torch"] == torch.__version__ and second == first | {"epoch": 3, "torch": "9.9", "processor": "abacus"}
    output = capsys.readouterr().err
    assert f"{run}: from epoch 3 on, " in output
    assert f"torch is 9.9, was {torch.__version__}" in output and "numpy" not in output


def test_entries_follow_what_was_trained(tmp_path: Path) -> None:
    one, two = {"torch": "1"}, {"torch": "2"}
    note(tmp_path, one, 0)
    note(tmp_path, one, 3)  # resumed, nothing new
    assert entries(tmp_path) == [{"epoch": 0, **one}]
    note(tmp_path, two, 5)
    assert entries(tmp_path) == [{"epoch": 0, **one}, {"epoch": 5, **two}]
    note(tmp_path, two, 4)  # stepped back
    assert entries(tmp_path) == [{"epoch": 0, **one}, {"epoch": 4, **two}]
    note(tmp_path, two, 0)  # begun again
    assert entries(tmp_path) == [{"epoch": 0, **two}]


@pytest.mark.parametrize("content", ["", "[", "5", "{}", '{"epoch": 0}', '["epoch"]', '[{"epoch": "0"}]', "[{}]"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    paths.environment(tmp_path).write_text(content)
    note(tmp_path, {"torch": "1"}, 2)
    assert entries(tmp_path) == [{"epoch": 2, "torch": "1"}]


def test_the_commit_of_a_checkout(tmp_path: Path) -> None:
    assert commit(tmp_path) is None  # also where a folder above it is someone's repository

    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "code.py").write_text("a = 1\n")
    git("add", "code.py")
    git("commit", "-m", "Code")
    assert commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "code.py").write_text("a = 2\n")
    assert commit(tmp_path) == git("rev-parse", "HEAD") + "-dirty"

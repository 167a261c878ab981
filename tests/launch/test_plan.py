"""What a command would do, told without doing it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_commands import TINY
from tests.typed import typed
from zoo.disk import paths
from zoo.engines import lanes
from zoo.errors import ZooError
from zoo.launch.plan import Plan, dry_run, duration, plan
from zoo.node.grid import Grid

FINISHED = ["seed=range(0,4)", "model.dropout=0,0.5", "trainer.max_epochs=3"]  # of the fixture `sweep`


def test_counts(grid: Callable[..., Grid], sweep: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sweep, tmp_path / "tiny")
    run = next(folder.glob("*dropout0.5*seed1*/"))
    lines = paths.result(run).read_text().splitlines(keepends=True)
    paths.result(run).write_text("".join(lines[:2]))  # after epoch 1
    nodes = list(grid(f"sweeps={tmp_path}", "zoo.name=tiny", "seed=range(0,6)", *FINISHED[1:]))
    found = plan(nodes, workers=2)
    assert (found.finished, found.begun, found.new, found.epochs) == (7, 1, 4, 2 + 4 * 3)
    assert found.seconds > 0 and found.through_torch == (0 if lanes.available() else 5)
    # states of 2,464 numbers, four of each model
    assert 12 * 4 * 4 * 2464 < found.size < 3 * 12 * 4 * 4 * 2464
    longer = plan(list(grid(f"sweeps={tmp_path}", "zoo.name=tiny", *FINISHED[:2], "trainer.max_epochs=5")), workers=2)
    assert (longer.finished, longer.begun, longer.new) == (0, 8, 0)


def test_what_goes_through_pytorch_is_counted(grid: Callable[..., Grid], tmp_path: Path) -> None:
    nodes = list(grid(f"sweeps={tmp_path}", "seed=0,1", "engine=torch", "trainer.max_epochs=1"))
    found = plan(nodes, workers=1)
    assert found.through_torch == 2 and "2 of them through PyTorch" in str(found)


def test_words() -> None:
    text = str(Plan(finished=1, begun=2, new=9_997, epochs=500_000, through_torch=0, seconds=7300.0, size=12 * 10**9))
    assert text.splitlines() == [
        "10,000 models: 1 finished, 2 to go on, 9,997 new",
        "500,000 epochs to train, about 2 hours",
        "12.0 GB on disk when done",
    ]
    times = [duration(seconds) for seconds in (3, 119, 121, 260_000)]
    assert times == ["3 seconds", "119 seconds", "2 minutes", "3 days"]


def test_what_the_command_would_refuse_is_refused(grid: Callable[..., Grid], sweep: Path) -> None:
    nodes = list(grid(f"sweeps={sweep.parent}", "zoo.name=tiny", "trainer.max_epochs=2"))
    with pytest.raises(ZooError, match="different trainer.max_epochs: 3, 2"):
        dry_run(nodes, [], workers=1)
    with pytest.raises(ZooError, match="batch_size=0"):
        dry_run(list(grid(f"sweeps={sweep.parent}", "batch_size=0")), [], workers=1)


@pytest.mark.parametrize("flags", [[], ["-m"]])
def test_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    assert typed(monkeypatch, tmp_path, "train", *TINY, *flags, "dry_run=true") is None
    told = capsys.readouterr().out
    assert told.startswith("1 models: 0 finished, 0 to go on, 1 new\n1 epochs to train, about ")
    assert told.endswith("Nothing was written: leave out dry_run to train.\n")
    assert list(tmp_path.iterdir()) == []

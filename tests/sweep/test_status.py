"""How far a sweep is, from its files alone."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo.__main__ import main
from zoo.disk import locks, paths
from zoo.disk.locks import is_held
from zoo.errors import ZooError
from zoo.sweep.progress import Progress, Tally
from zoo.sweep.status import recent_rate, report, survey


@pytest.fixture
def copy(sweep: Path, tmp_path: Path) -> Path:
    """A sweep of 8: one run has failed after epoch 1, one has not begun, six are finished."""
    folder = shutil.copytree(sweep, tmp_path / "sweep")
    first, second, *_ = sorted(folder.glob("*/"))
    shutil.rmtree(first)
    lines = paths.result(second).read_text().splitlines(keepends=True)
    paths.result(second).write_text("".join(lines[:2]))
    paths.error(second).write_text("ValueError: no")
    return folder


def test_survey(copy: Path) -> None:
    tally = survey(copy)
    assert (len(tally.target), len(tally.done), len(tally.failed)) == (8, 6, 1)
    assert (tally.trained_epochs, tally.total_epochs) == (6 * 3 + 1, 8 * 3)
    assert tally.text().startswith("6 runs done, 1 failed, 1 left, test accuracy best ")


def test_the_line_has_speed_and_time_left() -> None:
    tally = Tally({Path("a"): 10, Path("b"): 10})
    tally.epochs = {Path("a"): 5}
    assert tally.line(0.5) == "5/20 epochs, 0.5 epochs/s, 00:30 left, 0 runs done, 0 failed, 2 left"
    assert tally.line(0.0) == "5/20 epochs, 0 runs done, 0 failed, 2 left"


def test_recent_rate_counts_the_epochs_of_the_last_two_minutes(copy: Path) -> None:
    long_ago = time.time() - 1000
    for run in copy.glob("*/"):
        os.utime(paths.result(run), (long_ago, long_ago))
    assert recent_rate(survey(copy)) == 0
    fresh = next(run for run in copy.glob("*/") if not paths.error(run).exists())
    os.utime(paths.result(fresh))
    assert recent_rate(survey(copy)) == 3 / 120


@pytest.mark.parametrize(("content", "epochs"), [(b"", 0), (b"{", 0), (b"\xff", 0), (None, 2)])
def test_a_damaged_record_is_counted_as_far_as_it_can_be_read(copy: Path, content: bytes | None, epochs: int) -> None:
    run = sorted(copy.glob("*/"))[1]
    path = paths.result(run)
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    tally = survey(copy)
    assert (len(tally.done), len(tally.failed), tally.trained_epochs) == (5, 1, 1 + 5 * 3 + epochs)
    assert recent_rate(tally) >= 0
    assert (f"to be trained on from its last whole epoch: {run}" in report(copy)) == (content != b"")
    path.write_bytes(paths.result(sorted(copy.glob("*/"))[2]).read_bytes())
    tally.update([run])
    assert len(tally.done) == 6 and not tally.damaged


def test_a_record_that_is_damaged_while_it_is_shown(copy: Path) -> None:
    """The thread that shows progress goes on."""
    run = sorted(copy.glob("*/"))[1]
    with Progress(Tally({run: 3}), interval=0.01) as progress:
        progress.running.add(run)
        paths.result(run).write_bytes(b"{")
        time.sleep(0.1)
        assert progress.thread.is_alive()


def test_is_held(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert not is_held(lock)
    with locks.locked(lock):
        assert is_held(lock)
    assert not is_held(lock)


def test_the_command(copy: Path, tmp_path: Path) -> None:
    def status(folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "zoo", "status", folder], capture_output=True, text=True)

    done = status(copy)
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == f"{copy}: at rest"
    assert "6 runs done, 1 failed, 1 left" in done.stdout and "error.txt" in done.stdout
    missing = status(tmp_path / "nowhere")
    assert (
        missing.returncode == 1
        and missing.stderr.strip() == f"{tmp_path / 'nowhere'} is no sweep: it has no config.json"
    )


def test_without_a_path_it_is_the_latest_sweep(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["zoo", "status"])
    with pytest.raises(SystemExit, match="sweeps holds no sweep"):
        main()
    for number, name in enumerate(["b", "c", "a"]):
        shutil.copytree(sweep, tmp_path / "sweeps" / name)
        os.utime(paths.config(tmp_path / "sweeps" / name), (number, number))
    main()
    assert capsys.readouterr().out.startswith("sweeps/a: at rest\n24/24 epochs, 8 runs done")


def test_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="is no sweep"):
        survey(tmp_path)

"""Sweeps that lose nothing: real processes, real signals."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.conftest import train_sweep
from tests.run.test_run import assert_same_states
from tests.test_commands import ROOT, TINY, train
from tests.typed import InThisProcess, typed
from zoo.disk import paths
from zoo.format.record import read_records
from zoo.launch.worker import Outcome
from zoo.node.node import Node

EPOCHS = 6
SWEEP = ["-m", "seed=range(0,4)", f"trainer.max_epochs={EPOCHS}", "hydra.launcher.n_jobs=1"]


def start(cwd: Path, *arguments: str) -> subprocess.Popen[str]:
    """A sweep in a process group of its own, as a terminal would start it."""
    flags = [f"--config-dir={ROOT}/tests/conf", *[a for a in arguments if a.startswith("-")]]
    command = [sys.executable, f"{ROOT}/train.py", *flags, *TINY, *[a for a in arguments if not a.startswith("-")]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


def epochs(cwd: Path) -> int:
    return sum(max(len(path.read_text().splitlines()) - 1, 0) for path in cwd.glob("sweeps/tiny/*/result.json"))


def wait_for_epochs(process: subprocess.Popen[str], cwd: Path, count: int) -> None:
    while epochs(cwd) < count and process.poll() is None:
        time.sleep(0.002)


def children_of(process: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == process:
            found.append(int(path.parent.name))
    return found


def workers_of(launcher: int) -> list[int]:
    """The processes that train for the launcher: copies of one that it has started."""
    return [worker for child in children_of(launcher) for worker in children_of(child)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_sweep(tmp_path_factory.mktemp("undisturbed"), *SWEEP[1:])[0].sweep


@pytest.fixture
def again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str | int | None]:
    """The same command again, with workers in this process: what they go on from is the same files."""
    monkeypatch.setattr("zoo.launch.local.LocalWorkers", InThisProcess)
    return lambda: typed(monkeypatch, tmp_path, "train", *TINY, *SWEEP)


def assert_same_sweep(cwd: Path, undisturbed: Path) -> None:
    runs = sorted(undisturbed.glob("*/"))
    assert [run.name for run in sorted((cwd / "sweeps/tiny").glob("*/"))] == [run.name for run in runs]
    for run in runs:
        assert_same_states(cwd / "sweeps/tiny" / run.name, run, EPOCHS)


FAULTY = ["-m", "model=fragile", "model.faults={1:raise,2:exit,3:kill}", "seed=range(0,8)", "hydra.launcher.n_jobs=1"]


def assert_only_three_failed(sweep: Path, told: str, death: str) -> None:
    assert "3 of 8 runs failed" in told
    errors = {path.parent.name: path.read_text() for path in sweep.glob("*/error.txt")}
    by_seed = {seed: text for seed in range(8) for name, text in errors.items() if f"seed{seed}_" in name}
    assert by_seed.keys() == {1, 2, 3}
    assert "ArithmeticError: no such luck" in by_seed[1] and "log:\nabout to fail" in by_seed[1]
    assert "SystemExit: giving up" in by_seed[2]
    assert "The worker process died, twice" in by_seed[3] and death in by_seed[3]
    finished = [run.name for run in sweep.glob("*/") if len(read_records(run)) == 2]
    assert len(finished) == 5 and not set(finished) & errors.keys()
    for name in errors:  # every failure is in the table, with the file that tells more
        assert f"sweeps/tiny/{name}/error.txt" in told


class Mortal(InThisProcess):
    """Workers in this process, of which a task with a fault that kills is the end, as seen from the launcher."""

    def submit(self, function: Callable[[Sequence[Node]], list[Outcome]], nodes: Sequence[Node]) -> Future:
        if all(node.config["model"]["faults"].get(node.seed) != "kill" for node in nodes):
            return super().submit(function, nodes)
        future: Future = Future()
        future.set_exception(RuntimeError("exit code -9"))
        return future


def test_faults_hurt_only_their_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zoo.launch.local.LocalWorkers", Mortal)
    monkeypatch.setattr(sys, "stdout", open(1, "w", closefd=False))  # pytest's own is not what a run's log is made of
    assert typed(monkeypatch, tmp_path, "train", *TINY, *FAULTY) == 1
    assert_only_three_failed(tmp_path / "sweeps/tiny", capsys.readouterr().err, "exit code -9")


@pytest.mark.slow
def test_faults_hurt_only_their_own_run_in_worker_processes(tmp_path: Path) -> None:
    done = train(tmp_path, *FAULTY)
    assert done.returncode == 1
    assert_only_three_failed(tmp_path / "sweeps/tiny", done.stderr, "SIGKILL")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "texts"),
    [
        ("segfault", ["Fatal Python error: Segmentation fault", "fragile.py"]),
        ("terminate", ["The worker process died, twice", "SIGTERM"]),
    ],
)
def test_a_death_leaves_its_cause(tmp_path: Path, fault: str, texts: list[str]) -> None:
    done = train(tmp_path, "-m", "model=fragile", f"model.faults={{1:{fault}}}", "seed=0,1")
    assert done.returncode == 1 and "1 of 2 runs failed" in done.stderr
    [path] = (tmp_path / "sweeps/tiny").glob("*/error.txt")
    assert all(text in path.read_text() for text in texts)


@pytest.mark.slow
def test_what_has_failed_is_tried_again_and_what_is_finished_is_not(tmp_path: Path) -> None:
    arguments = ["-m", "model=fragile", "model.faults={1:raise}", "seed=0,1"]
    assert "1 of 2 runs failed" in train(tmp_path, *arguments).stderr
    [finished] = [run for run in (tmp_path / "sweeps/tiny").glob("*/") if len(read_records(run)) == 2]
    before = paths.result(finished).stat().st_mtime_ns
    again = train(tmp_path, *arguments)
    assert again.returncode == 1 and "1 of 2 runs failed" in again.stderr
    assert before == paths.result(finished).stat().st_mtime_ns


MOMENTS = [(victim, moment) for victim in ("worker", "launcher", "group") for moment in (0, 5, 13)]


@pytest.mark.parametrize(
    ("victim", "moment"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case != ("launcher", 5))) for case in MOMENTS],
)
def test_sigkill_at_any_moment(
    tmp_path: Path, undisturbed: Path, again: Callable[[], object], victim: str, moment: int
) -> None:
    process = start(tmp_path, *SWEEP[:-1], "hydra.launcher.n_jobs=2", "hydra.launcher.pack_size=1")
    wait_for_epochs(process, tmp_path, moment)
    time.sleep(random.Random(f"{victim}{moment}").uniform(0, 0.05))
    if victim == "worker":
        while not (workers := workers_of(process.pid)):
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
        _, output = process.communicate(timeout=120)
        assert process.returncode == 0, output  # retried by the launcher itself
    else:
        (os.kill if victim == "launcher" else os.killpg)(process.pid, signal.SIGKILL)
        process.communicate(timeout=30)
        assert again() is None
    assert_same_sweep(tmp_path, undisturbed)
    assert not list((tmp_path / "sweeps").rglob(".*.tmp"))


class Interrupted(InThisProcess):
    """Workers in this process; with the third task that they get, someone ends the command."""

    how = signal.SIGINT
    tasks = 0

    def submit(self, function: Callable[[Sequence[Node]], list[Outcome]], nodes: Sequence[Node]) -> Future:
        self.tasks += 1
        if self.tasks == 3:
            os.kill(os.getpid(), self.how)
        return super().submit(function, nodes)


@pytest.mark.parametrize("how", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_interrupted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    undisturbed: Path,
    how: signal.Signals,
) -> None:
    monkeypatch.setattr(Interrupted, "how", how)
    monkeypatch.setattr("zoo.launch.local.LocalWorkers", Interrupted)
    arguments = [*TINY, *SWEEP, "hydra.launcher.pack_size=1"]
    assert typed(monkeypatch, tmp_path, "train", *arguments) == 130
    told = capsys.readouterr().err
    assert "Stopped: 2 runs done, 0 failed, 2 left" in told and "The same command again goes on from there" in told
    assert typed(monkeypatch, tmp_path, "train", *arguments) is None
    assert_same_sweep(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_from_the_terminal(
    tmp_path: Path, undisturbed: Path, again: Callable[[], object], how: signal.Signals
) -> None:
    process = start(tmp_path, *SWEEP)
    wait_for_epochs(process, tmp_path, 4)
    began = time.monotonic()
    os.killpg(process.pid, how)
    _, output = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert "Stopped: " in output and "The same command again goes on from there" in output
    assert "Traceback" not in output and "leaked" not in output
    assert again() is None
    assert_same_sweep(tmp_path, undisturbed)


@pytest.mark.slow
def test_terminated_while_the_workers_start(tmp_path: Path) -> None:
    process = start(tmp_path, *SWEEP)
    while not workers_of(process.pid):
        time.sleep(0.01)
    process.terminate()
    _, output = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopped" in output and "Traceback" not in output and "leaked" not in output


@pytest.mark.slow
def test_a_second_launcher_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path, "-m", "seed=range(0,4)", "trainer.max_epochs=1000")
    wait_for_epochs(process, tmp_path, 1)
    second = train(tmp_path, "-m", "seed=range(0,4)", "trainer.max_epochs=1000")
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert second.returncode == 1
    assert "is being trained by another process" in second.stderr and "Traceback" not in second.stderr


@pytest.mark.slow
def test_a_grown_grid_trains_what_is_new(tmp_path: Path, undisturbed: Path) -> None:
    assert train(tmp_path, *SWEEP[:1], "seed=1,3", SWEEP[2]).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweeps/tiny/*/checkpoint*/*")}
    assert train(tmp_path, *SWEEP).returncode == 0
    assert_same_sweep(tmp_path, undisturbed)
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a tmpfs here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path, small_disk: Path, undisturbed: Path) -> None:
    places = ["sweeps=small/sweeps", "data.cache=cache"]
    done = train(tmp_path, *SWEEP, *places)
    assert done.returncode == 1
    assert done.stderr.count("No space left on device") == 1 and "Traceback" not in done.stderr
    assert "the same command again goes on from there" in done.stderr
    subprocess.run(["mount", "-o", "remount,size=20m", small_disk], check=True)
    done = train(tmp_path, *SWEEP, *places)
    assert done.returncode == 0, done.stderr
    assert_same_sweep(small_disk, undisturbed)


def test_the_share_of_training_steps_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a command that trained, by the records of its runs; of one that had nothing to train, none."""
    monkeypatch.setattr("zoo.launch.local.LocalWorkers", InThisProcess)
    began = time.monotonic()
    typed(monkeypatch, tmp_path, "train", *TINY, "-m", "seed=0,1")
    seconds = time.monotonic() - began
    found = re.search(r"left, .*, (\d+)% of the processes' time in training steps\. ", capsys.readouterr().err)
    assert found
    runs = tmp_path.glob("sweeps/tiny/*/")
    steps = sum(record["time_steps_s"] for run in runs for record in read_records(run))
    assert steps / seconds - 0.005 <= int(found[1]) / 100 <= 1
    typed(monkeypatch, tmp_path, "train", *TINY, "-m", "seed=0,1")
    assert "training steps" not in capsys.readouterr().err

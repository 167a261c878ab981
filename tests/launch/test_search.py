"""A search drives the launcher batch after batch."""

import atexit
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, RunMode

from hydra_plugins.zoo_launcher.launcher import NodeLauncher
from tests.tasks import pretend
from tests.test_commands import train
from tests.typed import ROOT
from zoo.disk import paths
from zoo.installation import CONF


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeLauncher]:
    """The launcher as a sweeper of Hydra's gets it; its workers train nothing."""
    monkeypatch.setattr("zoo.launch.local.TRAINING", ())
    monkeypatch.setattr("zoo.launch.launch.work", pretend)
    overrides = [f"hydra.searchpath=[file://{ROOT}/tests/conf]", f"sweeps={tmp_path}/sweeps", "zoo.name=tiny"]
    overrides += [f"data.cache={tmp_path}/cache", "data=tiny", "trainer.max_epochs=1", "hydra.launcher.n_jobs=1"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("train", overrides, run_mode=RunMode.MULTIRUN)
        made: Any = Plugins.instance().instantiate_launcher(
            hydra_context=HydraContext(config_loader=loader, callbacks=None),
            task_function=lambda config: None,
            config=config,
        )
        made.common = overrides[1:]
        yield made
        made.stop()
        atexit.unregister(made.end_search)


def batch(launcher: Any, number: int, seeds: Sequence[int]) -> Sequence[JobReturn]:
    return launcher.launch([[*launcher.common, f"seed={seed}"] for seed in seeds], initial_job_idx=2 * number)


def test_workers_stay_from_batch_to_batch(launcher: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    returned = [
        job.return_value for number in range(3) for job in batch(launcher, number, [2 * number, 2 * number + 1])
    ]
    assert returned == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5])  # of validation images, not of test images
    processes = {path.read_text() for path in tmp_path.glob("sweeps/tiny/*/log.txt")}
    assert len(processes) == 1
    assert "makes a zoo" not in capsys.readouterr().err
    launcher.end_search()
    told = capsys.readouterr().err
    assert told.count("makes a zoo") == 1 and "6 runs done, 0 failed, 0 left" in told
    assert launcher.workers is None


def test_a_batch_that_is_interrupted_ends_the_workers(
    launcher: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    batch(launcher, 0, [1, 2])
    monkeypatch.setattr("zoo.launch.launch.pack", lambda *_: sys.exit("no"))
    with pytest.raises(SystemExit):
        batch(launcher, 1, [3, 4])
    assert launcher.workers is None
    launcher.end_search()
    assert "makes a zoo" not in capsys.readouterr().err


def test_a_sweep_that_cannot_be_packed_ends_the_workers(launcher: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    batch(launcher, 0, [1])
    nodes, workers = list(launcher.searched.values()), launcher.workers
    paths.result(nodes[0].run).unlink()
    monkeypatch.setattr("zoo.launch.launch.pack", lambda *_: sys.exit("no"))
    with pytest.raises(SystemExit), NodeLauncher.starting_up(launcher, 1):
        launcher.launch_sweep(nodes)
    assert launcher.workers is None and not workers.idle


def test_a_larger_batch_has_more_workers(launcher: Any) -> None:
    launcher.n_jobs = 2
    batch(launcher, 0, [1])
    assert launcher.workers.processes == 1
    batch(launcher, 1, [2, 3])
    assert launcher.workers.processes == 2
    batch(launcher, 2, [4])
    assert launcher.workers.processes == 2


@pytest.mark.slow
def test_a_command_by_a_sweeper_of_hydra_ends_with_its_workers(tmp_path: Path) -> None:
    """Real workers and exit handlers: multiprocessing's own would wait for the workers for ever."""
    done = train(tmp_path, "-m", "hydra/sweeper=basic", "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert "2 runs done, 0 failed, 0 left" in done.stderr and done.stderr.count("makes a zoo of them") == 1

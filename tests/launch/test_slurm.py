"""A sweep on the Slurm of this machine; of a cluster, if its nodes see pytest's folder (--basetemp)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import train_sweep
from tests.launch.test_launch import ROOT, SWEEP, assert_same_sweep, start, wait_for_epochs

pytest.importorskip("dask_jobqueue")


def slurm(*command: str) -> str:
    """What the command prints; skips the test where no Slurm answers."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no Slurm answers here: {error}")


@pytest.mark.slow
def test_a_sweep_outlives_a_job(tmp_path: Path) -> None:
    slurm("sinfo")
    name = tmp_path.parent.name  # of this session of pytest alone
    arguments = {
        "cores": "1",
        "memory": "2GB",
        "walltime": "00:10:00",
        "job_name": name,
        "log_directory": f"{tmp_path}/logs",
        "python": sys.executable,
        "job_script_prologue": f"['export PYTHONPATH={ROOT}', 'cd {tmp_path}']",
    }
    typed = ", ".join(f"{key}: {value}" for key, value in arguments.items())
    cluster = f"hydra.launcher.cluster={{_target_: dask_jobqueue.SLURMCluster, {typed}}}"
    launcher = ["hydra/launcher=dask", "hydra.launcher.n_jobs=2", "hydra.launcher.pack_size=1", cluster]
    process = start(tmp_path, *SWEEP, *launcher)
    wait_for_epochs(process, tmp_path, 3)
    job, *_ = slurm("squeue", "--noheader", "--format=%i", f"--name={name}").split()
    slurm("scancel", job)
    _, output = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert_same_sweep(tmp_path, train_sweep(tmp_path / "undisturbed", *SWEEP[1:])[0].sweep)
    assert not slurm("squeue", "--noheader", "--states=PENDING,RUNNING", f"--name={name}")

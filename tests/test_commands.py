"""The commands as users type them, in processes of their own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.run.test_run import assert_same_states
from tests.typed import InThisProcess, typed
from zoo.engines.lanes import library
from zoo.format.record import read_records

ROOT = Path(__file__).parent.parent
NO_MAC = pytest.mark.skipif(sys.platform == "darwin", reason="it may have this device")
TINY = ["data=tiny", "trainer.max_epochs=1", "zoo.name=tiny"]


def command(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{cwd}", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


def train(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    flags = [f"--config-dir={ROOT}/tests/conf", *[a for a in arguments if a.startswith("-")]]
    return command(cwd, f"{ROOT}/train.py", *flags, *TINY, *[a for a in arguments if not a.startswith("-")])


def test_one_model(tmp_path: Path) -> None:
    done = train(tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1].startswith("1/1 epochs") and "1 runs done" in done.stderr
    [run] = (tmp_path / "sweeps/tiny").glob("*/")
    assert len(read_records(run)) == 2
    assert (run / ".hydra/config.yaml").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "sweeps"]


def test_without_the_engine_models_train_through_pytorch_and_a_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_LANES", "off")
    assert typed(monkeypatch, tmp_path, "train", *TINY) is None
    assert (
        capsys.readouterr()
        .err.partition("\n")[2]
        .startswith(  # the first line says that images are prepared
            "Without the CPU engine (the CPU engine is switched off (ZOO_LANES=off)) models are trained one by one "
            "through PyTorch, far slower.\n"
        )
    )
    assert len(read_records(next((tmp_path / "sweeps/tiny").glob("*/")))) == 2


def test_a_sweep_with_kernels_of_other_sources_says_so_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("zoo.launch.local.LocalWorkers", InThisProcess)
    monkeypatch.setattr(library.sources, "expected", lambda package: "0123456789abcdef")
    library.load.cache_clear()
    assert typed(monkeypatch, tmp_path, "train", "-m", *TINY, "seed=0,1") is None
    library.load.cache_clear()
    told = capsys.readouterr().err
    line = (
        "Without the CPU engine .*the sources here are 0123456789abcdef.* models are trained one by one through PyTorch"
    )
    assert re.search(f"^preparing .*\n{line}.*\n.* epochs", told)


@pytest.mark.slow
def test_every_launcher_trains_the_same_models(tmp_path: Path) -> None:
    sweep = ["-m", "seed=range(0,3)", "optim.lr=1e-3,1e-4"]
    for launcher in ("joblib", "basic", "zoo"):
        done = train(tmp_path, *sweep, f"sweeps={launcher}", f"hydra/launcher={launcher}")
        assert done.returncode == 0, done.stderr
        assert "6/6 epochs" in done.stderr and "6 runs done, 0 failed, 0 left" in done.stderr
        assert all(
            re.match(r"preparing 60 images|\d/6 epochs, |6 runs done", line) for line in done.stderr.splitlines()
        ), done.stderr
    runs = sorted((tmp_path / "joblib/tiny").glob("*/"))
    assert len(runs) == 6
    for run in runs:
        for launcher in ("basic", "zoo"):
            assert_same_states(run, tmp_path / launcher / "tiny" / run.name, epochs=1)


ARCHITECTURE = """
from torch import nn

class Perceptron(nn.Sequential):
    def __init__(self, width, classes):
        super().__init__(nn.Flatten(), nn.Linear(784, width), nn.Tanh(), nn.Linear(width, classes))
"""
CHOICE = """
name: perceptron
image_size: 28
_target_: my_perceptrons.Perceptron
width: 16
classes: ${data.classes}
"""


@pytest.fixture
def perceptron(tmp_path: Path) -> list[str]:
    """A user's own architecture in the folder; the command that trains it."""
    (tmp_path / "my_perceptrons.py").write_text(ARCHITECTURE)
    (tmp_path / "conf/model").mkdir(parents=True)
    (tmp_path / "conf/model/perceptron.yaml").write_text(CHOICE)
    (tmp_path / "conf/data").symlink_to(ROOT / "tests/conf/data")
    overrides = ["data=tiny", "trainer.max_epochs=1", "zoo.name=mine", "model=perceptron", "model.width=8", "seed=1,2"]
    return ["--config-dir=conf", "-m", *overrides, "hydra.launcher.n_jobs=1"]


def test_a_new_architecture_is_one_class_and_one_yaml_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, perceptron: list[str]
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("zoo.launch.local.LocalWorkers", InThisProcess)
    assert typed(monkeypatch, tmp_path, "train", *perceptron) is None
    assert typed(monkeypatch, tmp_path, "analyze") is None
    architecture = json.loads((tmp_path / "zoos/mine/architecture.json").read_text())
    assert "1.weight" in json.dumps(architecture)
    code = "import json, model; print(model.build(json.load(open('PARAMS'))))"
    params = next((tmp_path / "zoos/mine/models").glob("*/params.json"))
    done = command(tmp_path / "zoos/mine", "-c", code.replace("PARAMS", str(params)))
    assert "Linear(in_features=784, out_features=8" in done.stdout, done.stderr


@pytest.mark.slow
def test_a_new_architecture_is_found_by_worker_processes(tmp_path: Path, perceptron: list[str]) -> None:
    done = command(tmp_path, f"{ROOT}/train.py", *perceptron)
    assert done.returncode == 0, done.stderr
    assert all(len(read_records(run)) == 2 for run in (tmp_path / "sweeps/mine").glob("*/"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optim.lrr=1"], "Could not override 'optim.lrr'"),
        (["optim=adamm"], "Could not find 'optim/adamm'"),
        (["-m", "init=uniform,unifrom"], "Could not find 'init/unifrom'"),
        (["-m", "model.activation=tanh,tahn"], "unknown activation 'tahn': choose from tanh"),
        (["data=mnist", "data.root=nowhere", "data.download=false"], "nowhere"),
        pytest.param(["-m", "trainer.accelerator=mps", "seed=0,1"], "PyTorch finds none on this machine", marks=NO_MAC),
    ],
)
def test_bad_input_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    told = typed(monkeypatch, tmp_path, "train", *TINY, *arguments)
    assert message in str(told)
    assert not list(tmp_path.rglob("params.json"))


def test_an_error_is_told_without_a_traceback(tmp_path: Path) -> None:
    done = train(tmp_path, "optim.lr=abc")
    assert done.returncode == 1
    assert "optim.lr=abc" in done.stderr and len(done.stderr.splitlines()) == 1


def test_help_reads_well(tmp_path: Path) -> None:
    done = command(tmp_path, f"{ROOT}/train.py", "--help")
    assert done.returncode == 0
    for text in (
        "python train.py -m optim.lr=1e-3,1e-4",
        "model: cnn_large, cnn_park, cnn_small, cnn_strided, resnet18",
        "batch_size: 10",
    ):
        assert text in done.stdout
    assert "shared" not in done.stdout and "hydra/" not in done.stdout

"""What was typed wrongly ends the command with one line, and leaves nothing behind."""

import os
import signal
from pathlib import Path

import pytest

from hydra_plugins.zoo_launcher.launcher import ZooLauncher
from tests.typed import typed
from zoo.errors import ZooError
from zoo.node import clear_errors

LONG = 250 * "a"
TINY = ["data=tiny", "trainer.max_epochs=1"]
SINGLE_OR_SWEPT = pytest.mark.parametrize(
    "flags", [pytest.param([], id="single", marks=pytest.mark.slow), pytest.param(["-m"], id="sweep")]
)


@SINGLE_OR_SWEPT
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.momentum=0.9", "Could not override 'optim.momentum': optim=adam has no momentum. It has "),
        ("optim.momentum=0.9", "optim.momentum is there with optim=rmsprop or optim=sgd"),
        ("+trainer.devices=2", "+trainer.devices: the config has trainer.devices already. Leave out the plus"),
        (
            "trainer.devices=2",
            "trainer.devices=2: must be 1, or the number of one device in a list, as in [0]: a model",
        ),
        ("trainer.max_epoch=3", "'trainer.max_epoch': trainer has no max_epoch. It has max_epochs, "),
        ("sead=3", "Could not override 'sead': the config has no sead. It has seed, "),
        ("seed.x=3", "Could not override 'seed.x'"),
        ("model.activation=[1", "model.activation=[1: no viable alternative"),
        ("sweeps/g1", "sweeps/g1: missing EQUAL at '<EOF>'. Values are typed as key=value, such as optim.lr=1e-3"),
        ("optim.lr=abc", "optim.lr=abc"),
        ("optim.lr=inf", "optim.lr=inf: must be a finite number"),
        ("model.dropout=-0.1", "model.dropout=-0.1: dropout probability has to be between 0 and 1"),
        ("model.dropout=1.0", "model.dropout=1.0: dropout probability has to be between 0 and 1, and less than 1"),
        ("seed=18446744073709551616", "seed=18446744073709551616: must not be greater than 18446744073709551615"),
        ("seed=99999999999999999999999", "must not be greater than"),
        ("~init", "init=None: the config must have this group"),
        ("~optim.name", "the YAML file of this optim has no `name`"),
        ("optim=${parent:optim}", "before the zoo is opened. Type its name, as in optim=NAME; values in it can be"),
        ("data.size=${model.pixels}", "data.size: Interpolation key 'model.pixels' not found"),
        ("sweeps=null", "sweeps=None: must be a folder"),
        ("zoo.name=null", "zoo.name=None: must be a folder's name"),
        ("zoo.name=", "zoo.name=: must be a folder's name"),
        ("zoo.name=../x", "zoo.name=../x: must be a folder's name"),
        ("zoo.name='my zoo'", "zoo.name=my zoo: must be a folder's name"),
        (f"zoo.name={LONG}", "must not be longer than 200 characters"),
        ("hydra.job.chdir=true", "hydra.job.chdir=true: folders are found from where the command is given"),
    ],
)
def test_one_line_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], override: str, message: str
) -> None:
    (tmp_path / "here").mkdir()
    text = typed(monkeypatch, tmp_path / "here", "train", *flags, *TINY, override)
    assert isinstance(text, str) and message in text and "\n" not in text
    assert [path for path in tmp_path.rglob("*")] == [tmp_path / "here"]


def test_no_worker_is_begun_where_hydra_would_leave_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ZooLauncher, "workers_for", lambda *_: pytest.fail("a worker was begun"))
    for more in ([], ["dry_run=true"]):
        text = typed(monkeypatch, tmp_path, "train", "-m", *TINY, "seed=1,2", "hydra.job.chdir=true", *more)
        assert isinstance(text, str) and "hydra.job.chdir=true: folders are found" in text


@SINGLE_OR_SWEPT
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweeps=/proc/x", "/proc/x/tiny_cnn_small can't be made (No such file or directory): choose another folder"),
        (f"init.name={LONG}", "can't be a run's folder: init.name, optim.name and model.activation must be short"),
    ],
)
def test_one_line_and_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], override: str, message: str
) -> None:
    text = typed(monkeypatch, tmp_path, "train", *flags, *TINY, override)
    assert isinstance(text, str) and message in text and "\n" not in text
    assert not (tmp_path / "sweeps").exists()


def test_an_empty_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = typed(monkeypatch, tmp_path, "train", "-m", *TINY, "model.activation=glob(*)")
    assert text == "model.activation=glob(*) matches nothing, so there is nothing to train"


def test_flags_that_exclude_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(typed(monkeypatch, tmp_path, "train", "-m", "--cfg=job")).startswith("Only one of --run, --multirun")


def test_a_sweep_without_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(typed(monkeypatch, tmp_path, "analyze", "sweeps/g1"))
    assert "sweeps/g1: missing EQUAL" in text and "Values are typed as key=value" in text and "\n" not in text


def test_runs_are_kept_in_one_of_two_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = typed(monkeypatch, tmp_path, "analyze", "files=zip")
    assert text == "files=zip: choose from folders, compact"


def test_keys_are_listed_from_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(typed(monkeypatch, tmp_path, "train", *TINY, "optim.weight_decy=1"))
    assert "It has weight_decay, " in text and "_target_" not in text
    assert "+optim" not in text  # which would train with a key that nobody reads


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), clear_errors.clear_errors("key=1"):
        raise ZeroDivisionError
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_those_who_ask_see_every_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clear_errors, "IS_FULL", True)
    with pytest.raises(ZooError), clear_errors.clear_errors("key=1"):
        raise ZooError("no")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(capsys: pytest.CaptureFixture[str], how: signal.Signals) -> None:
    before = signal.getsignal(how)
    with pytest.raises(SystemExit) as end, clear_errors.clear_errors("key=1"):
        os.kill(os.getpid(), how)
    assert signal.getsignal(how) == before
    assert end.value.code == 130 and "Stopped. The same command again goes on from there." in capsys.readouterr().err

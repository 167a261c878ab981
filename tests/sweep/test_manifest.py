"""What a sweep is to hold: grown, damaged, dropped from, of another kind."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import train_sweep
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.node_table import read_nodes, write_nodes
from zoo.format.record import read_records, read_state
from zoo.installation import CONF
from zoo.node.user_code import code_of
from zoo.sweep.manifest import Manifest, spans_training

COMMAND = ["seed=range(0,4)", "model.dropout=0,0.5", "trainer.max_epochs=3"]  # of the fixture `sweep`


@pytest.fixture
def copied(sweep: Path, tmp_path: Path) -> Path:
    """A copy of the sweep in tmp_path/sweeps, to be tampered with."""
    return shutil.copytree(sweep, tmp_path / "sweeps/tiny")


def test_the_table_shows_what_varies(sweep: Path) -> None:
    lines = paths.nodes(sweep).read_text().splitlines()
    assert lines[0] == "node,model.dropout,seed" and len(lines) == 9
    assert all(
        row == {"seed": int(name.split("seed")[1][0]), "model.dropout": row["model.dropout"]}
        for name, row in read_nodes(sweep).items()
    )


@pytest.mark.parametrize("value", [None, True, 0, 1e-3, "adam", "1e-3", "null", "", 'a,b\n"c"', [0.9, 0.99], {"a": 1}])
def test_cells_come_back(tmp_path: Path, value: object) -> None:
    write_nodes(tmp_path, {"a_0123456789": {"key": value}, "b_0123456789": {}}, ["key"])
    assert read_nodes(tmp_path) == {"a_0123456789": {"key": value}, "b_0123456789": {}}


def test_more_epochs_go_on_from_where_the_models_are(sweep: Path, copied: Path, tmp_path: Path) -> None:
    first = train_sweep(tmp_path, "seed=range(0,2)", "trainer.max_epochs=5")
    whole = train_sweep(tmp_path / "whole", "seed=range(0,2)", "trainer.max_epochs=5")
    for node, twin in zip(first, whole, strict=True):
        assert node.run.parent == copied and (sweep / node.name).exists()
        assert len(read_records(node.run)) == 6
        assert json.loads(paths.params(node.run).read_text())["trainer.max_epochs"] == 5
        for epoch in range(6):
            state, other = read_state(node.run, epoch), read_state(twin.run, epoch)
            assert all(torch.equal(state[key], other[key]) for key in state)
    config = json.loads(paths.config(copied).read_text())
    assert config["protocol"]["trainer.max_epochs"] == 5 and config["models"] == 8


def test_fewer_epochs_are_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="different trainer.max_epochs: 3, 1. A zoo has one protocol"):
        train_sweep(tmp_path, "seed=9", "trainer.max_epochs=1")


def test_spans_training() -> None:
    row = {"data.train": 41, "batch_size": 10, "trainer.max_epochs": 3, "schedule.T_max": 15, "schedule": "cosine"}
    assert spans_training(row) and not spans_training(row | {"schedule.T_max": 10})
    assert not spans_training(row | {"trainer.limit_train_batches": 4})
    assert spans_training(row | {"trainer.limit_train_batches": 0.5, "schedule.T_max": 6})


@pytest.mark.parametrize("content", [b"", b'{"name": "tiny", "mod', b"[]", b"{}"])
def test_a_damaged_config_is_made_anew(sweep: Path, copied: Path, tmp_path: Path, content: bytes) -> None:
    before = json.loads(paths.config(sweep).read_text())
    paths.config(copied).write_bytes(content)
    train_sweep(tmp_path, *COMMAND)
    now = json.loads(paths.config(copied).read_text())
    assert {**now, "commands": 0} == {**before, "commands": 0}


@pytest.mark.parametrize("cut", [0, 10, 200, -1, -20])
def test_a_torn_table_is_made_anew(sweep: Path, copied: Path, tmp_path: Path, cut: int) -> None:
    whole = paths.nodes(copied).read_bytes()
    paths.nodes(copied).write_bytes(whole[:cut])
    train_sweep(tmp_path, "seed=0", "trainer.max_epochs=3")
    assert read_nodes(copied) == read_nodes(sweep)


def test_ended_between_the_two_files(tmp_path: Path) -> None:
    train_sweep(tmp_path, "seed=0", "trainer.max_epochs=1")
    sweep = tmp_path / "sweeps/tiny"
    paths.config(sweep).unlink()
    for run in sweep.glob("*_*/"):
        shutil.rmtree(run)
    [node] = train_sweep(tmp_path, "seed=0", "trainer.max_epochs=1")
    assert len(read_records(node.run)) == 2 and paths.config(sweep).exists()


def test_a_cut_name_of_version_0_1_0_is_no_node(tmp_path: Path) -> None:
    paths.old_nodes(tmp_path).write_text("relu_normal_adam_lr0.001_wd0_seed0_0123456789\nrelu_normal_adam_lr0.00")
    assert list(read_nodes(tmp_path)) == ["relu_normal_adam_lr0.001_wd0_seed0_0123456789"]


def test_code_that_changed_is_refused_and_the_old_one_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
    code += "        super().__init__(nn.Flatten(), nn.Linear(784, 10))\n"
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["~model", "+model={name: net, image_size: 28, _target_: edited.Net}", "trainer.max_epochs=1"]
    (tmp_path / "edited.py").write_text(code)
    train_sweep(tmp_path, *overrides)
    (tmp_path / "edited.py").write_text(code + "\n# edited\n")
    code_of.cache_clear()
    with pytest.raises(ZooError, match="the code of model is not what it was when .*sweeps/tiny was begun"):
        train_sweep(tmp_path, *overrides, "seed=1")
    assert paths.source(tmp_path / "sweeps/tiny", "model").read_text() == code
    code_of.cache_clear()


OPTIMIZER = "import torch\nimport {helper}\n\nclass Opt(torch.optim.SGD):\n    pass\n"


def test_code_that_the_users_file_imports_is_kept_and_may_not_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in "ab":
        (tmp_path / f"opt_{name}.py").write_text(OPTIMIZER.format(helper=f"help_{name}"))
        (tmp_path / f"help_{name}.py").write_text("rate = 1\n")
        (tmp_path / f"conf/optim/own_{name}.yaml").parent.mkdir(parents=True, exist_ok=True)
        yaml = f"name: own_{name}\n_target_: opt_{name}.Opt\n_partial_: true\nlr: 0.1\n"
        (tmp_path / f"conf/optim/own_{name}.yaml").write_text(yaml)
    search = f"hydra.searchpath=[file://{tmp_path}/conf,file://{CONF.parent}/tests/conf]"
    nodes = train_sweep(tmp_path, search, "optim=own_a,own_b", "trainer.max_epochs=1")
    kept = {path.name: path.read_text() for path in nodes[0].sweep.glob("source_optim*.py")}
    assert kept == {
        "source_optim.py": OPTIMIZER.format(helper="help_a"),
        "source_optim_help_a.py": "rate = 1\n",
        "source_optim_opt_b.py": OPTIMIZER.format(helper="help_b"),
        "source_optim_help_b.py": "rate = 1\n",
    }
    code_of.cache_clear()
    (tmp_path / "help_b.py").write_text("rate = 2\n")
    with pytest.raises(ZooError, match="the code of optim is not what it was when .*sweeps/tiny was begun"):
        train_sweep(tmp_path, search, "optim=own_b", "trainer.max_epochs=1", "seed=1")
    code_of.cache_clear()


def test_dropping_leaves_the_values_of_the_others(sweep: Path) -> None:
    manifest = Manifest.read(sweep)
    dropped = manifest.dropping(name for name in manifest.rows if "dropout0.5" in name)
    assert dropped.values()["model.dropout"] == [0] and dropped.values()["seed"] == [0, 1, 2, 3]
    assert len(manifest.rows) == 8 and len(dropped.rows) == 4


def test_other_images_of_the_same_name_are_refused(sweep: Path) -> None:
    manifest = replace(Manifest.read(sweep), images="one")
    assert manifest.including({}, [], images="one").images == "one"
    with pytest.raises(ZooError, match="was begun with other images of the same name"):
        manifest.including({}, [], images="another")


def test_reading_is_lossless(sweep: Path, grid: Callable[..., object]) -> None:
    for name, row in Manifest.read(sweep).rows.items():
        params = json.loads(paths.params(sweep / name).read_text())
        assert row == {key: params[key] for key in row} and "trainer.max_epochs" in row


def test_a_schedule_over_the_whole_training_is_not_continued(tmp_path: Path) -> None:
    train_sweep(tmp_path, "schedule=one_cycle", "trainer.max_epochs=1", "engine=torch")
    with pytest.raises(ZooError, match="trains to 1 epochs by a schedule that spans them all.*can't go on to 2"):
        train_sweep(tmp_path, "schedule=one_cycle", "trainer.max_epochs=2", "engine=torch")


COSINE = ["+schedule._target_=torch.optim.lr_scheduler.CosineAnnealingLR", "+schedule._partial_=true"]


@pytest.mark.parametrize("span", ["+schedule.T_max=${trainer.max_epochs}", "+schedule.T_max=${total_steps:}"])
def test_a_schedule_over_all_epochs_is_not_continued(tmp_path: Path, span: str) -> None:
    overrides = ["schedule.name=cosine", *COSINE, "+schedule.interval=epoch", span]
    train_sweep(tmp_path, *overrides, "trainer.max_epochs=2")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ZooError, match="trains to 2 epochs by a schedule that spans them all.*can't go on to 3"):
        train_sweep(tmp_path, *overrides, "trainer.max_epochs=3", "seed=0,1")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    config = json.loads(paths.config(tmp_path / "sweeps/tiny").read_text())
    del config["spans_epochs"]  # as it was before there was that key
    paths.config(tmp_path / "sweeps/tiny").write_text(json.dumps(config))
    assert Manifest.read(tmp_path / "sweeps/tiny").spans_epochs


def test_a_schedule_of_as_many_steps_by_chance_is_continued(tmp_path: Path) -> None:
    overrides = ["schedule.name=step", "+schedule._target_=torch.optim.lr_scheduler.StepLR", "+schedule._partial_=true"]
    overrides += ["+schedule.step_size=1", "+schedule.interval=epoch"]
    train_sweep(tmp_path, *overrides, "trainer.max_epochs=1")
    [node] = train_sweep(tmp_path, *overrides, "trainer.max_epochs=2")
    assert len(read_records(node.run)) == 3

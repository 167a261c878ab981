"""Nodes leave a sweep, and nothing is lost."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import train_sweep
from zoo.analyze import make_zoo
from zoo.disk import locks, paths
from zoo.errors import ZooError
from zoo.format.node_table import read_nodes
from zoo.sweep.drop import drop

pytestmark = pytest.mark.usefixtures("without_drawing")


@pytest.fixture
def copied(sweep: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sweep, tmp_path / "sweeps/tiny")


def test_drop(copied: Path, sweep: Path, tmp_path: Path) -> None:
    text = drop(copied, ["*dropout0.5*"])
    assert text == f"dropped 4 of 8 nodes from {copied}; their runs are in {tmp_path}/sweeps/.tiny.dropped"
    config = json.loads(paths.config(copied).read_text())
    assert config["models"] == 4 and config["search_pattern"] == {"seed": [0, 1, 2, 3]}
    assert config["protocol"]["model.dropout"] == 0 and config["released"]["model::dropout"] == 0
    assert len(read_nodes(copied)) == len(list(copied.glob("*_*/"))) == 4
    for run in (tmp_path / "sweeps/.tiny.dropped").iterdir():
        assert paths.result(run).read_bytes() == paths.result(sweep / run.name).read_bytes()
    assert make_zoo(copied, tmp_path / "zoo")["models"] == 4
    # they can be trained anew, and dropped again beside the former
    train_sweep(tmp_path, "seed=0", "model.dropout=0.5", "trainer.max_epochs=3")
    drop(copied, ["*dropout0.5*"])
    assert len(list((tmp_path / "sweeps/.tiny.dropped").iterdir())) == 5


def test_what_has_not_begun_can_be_dropped(copied: Path) -> None:
    [name] = [name for name in read_nodes(copied) if "dropout0_seed2" in name]
    shutil.rmtree(copied / name)
    assert drop(copied, [f"{copied}/{name}"]) == f"dropped 1 of 8 nodes from {copied}"
    assert json.loads(paths.config(copied).read_text())["search_pattern"]["seed"] == [0, 1, 2, 3]


def test_a_zoo_that_has_the_dropped_models_is_not_replaced(copied: Path, tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    make_zoo(copied, zoo)
    drop(copied, ["*dropout0.5*"])
    with pytest.raises(
        ZooError, match=rf"zoo holds 4 models that were dropped from {copied} \(such as .*zoo_dir, or move"
    ):
        make_zoo(copied, zoo)
    zoo.rename(tmp_path / "former")
    assert make_zoo(copied, zoo)["models"] == 4


def test_drop_refuses(copied: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    with pytest.raises(ZooError, match="is no sweep"):
        drop(tmp_path, ["*"])
    with pytest.raises(ZooError, match="has no node nonsense: .*nodes.csv lists them"):
        drop(copied, ["*dropout0.5*", "nonsense"])
    with pytest.raises(ZooError, match="would drop all nodes"):
        drop(copied, ["*"])
    with locks.locked(paths.lock(copied)), pytest.raises(ZooError, match="is being trained"):
        drop(copied, ["*dropout0.5*"])
    assert {path: path.read_bytes() for path in copied.rglob("*") if path.is_file() and path.name != ".lock"} == {
        path: content for path, content in before.items() if path.name != ".lock"
    }

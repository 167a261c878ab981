"""A sweep's record, and what is refused before anything trains."""

import json
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from tests import tiny
from tests.conftest import flipped, prepare
from zoo.data.images import Images
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.node_table import read_nodes
from zoo.node.grid import Grid
from zoo.sweep import log
from zoo.sweep.sweep import training


@pytest.fixture
def start(grid: Callable[..., Grid], tmp_path: Path) -> Callable[..., Path]:
    """`start(*overrides)`: prepare a sweep in tmp_path without training; returns its directory."""

    def start(*overrides: str) -> Path:
        nodes = grid(f"sweeps={tmp_path}/sweeps", f"data.cache={tmp_path}/cache", "zoo.name=tiny", *overrides)
        return prepare(nodes, overrides)[0].sweep

    return start


def test_record(start: Callable[..., Path]) -> None:
    folder = start("optim=adam,sgd", "seed=range(0,3)", "optim.lr=1e-3")
    config = json.loads(paths.config(folder).read_text())
    assert config["name"] == "tiny" and config["models"] == 6
    assert config["search_pattern"] == {"optim": ["adam", "sgd"], "seed": [0, 1, 2]}
    protocol = config["protocol"]
    assert protocol["optim.lr"] == 0.001 and protocol["data"] == "tiny" and protocol["trainer.max_epochs"] == 50
    assert config["released"]["optim::optimizer"] == ["adam", "sgd"] and config["released"]["model::type"] == "CNN"
    assert len(read_nodes(folder)) == 6


def test_a_grown_grid_is_added(start: Callable[..., Path]) -> None:
    start("seed=0,1")
    start("seed=0,1")
    folder = start("seed=1,2", "optim.lr=0.01")
    config = json.loads(paths.config(folder).read_text())
    assert config["search_pattern"] == {"optim.lr": [0.001, 0.01], "seed": [0, 1, 2]}
    assert config["commands"] == [["seed=0,1"], ["seed=1,2", "optim.lr=0.01"]]
    assert config["models"] == len(read_nodes(folder)) == 4


def test_images_are_those_of_the_cache(start: Callable[..., Path], tmp_path: Path) -> None:
    folder = start()
    [cached] = (tmp_path / "cache").glob("tiny-*.pt")
    assert torch.equal(Images.load(paths.images(folder)).testset.images, Images.load(cached).testset.images)
    saved = torch.load(paths.images(folder), weights_only=True)
    assert saved["trainset"]["images"].shape == (40, 1, 28, 28) and saved["split_seed"] == 42


def test_every_data_set_in_its_own_sweep(grid: Callable[..., Grid], tmp_path: Path) -> None:
    nodes = grid(f"sweeps={tmp_path}/sweeps", f"data.cache={tmp_path}/cache", "data=tiny,mnist_5k", "seed=1,2")
    assert {node.sweep.name for node in prepare(nodes, [])} == {"tiny_cnn_small", "mnist_5k_cnn_small"}
    assert len(Images.load(paths.images(tmp_path / "sweeps/mnist_5k_cnn_small")).trainset) == 3500


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=1.5"], "seed=1.5: must be a whole number, 0 or more"),
        (["batch_size=10,0"], "batch_size=0: must be a whole number, 1 or more"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0: must be"),
        (["model.activation=tanh,tahn"], "model.activation=tahn.*unknown activation 'tahn': choose from"),
        (["model.dropout=1.5"], "model.dropout=1.5.*dropout probability has to be between 0 and 1"),
        (["optim.lr=abc"], "^optim.lr=abc: must be a number$"),
        (["optim.lr=1e-3,-1"], "optim.lr=-1.*[Ii]nvalid learning rate"),
        (["init.bias=zero"], "init.bias=zero"),
        (["model=cnn_large", "data.size=28"], "model=cnn_large can't take images of 28x28 pixels"),
        (["data.size=32"], "model=cnn_small can't take images of 32x32 pixels"),
        (["data=tiny,mnist_5k"], "would hold models of different data: tiny, mnist_5k"),
        (["seed=1,1"], "two nodes of the grid train the same model: .* Give each value once"),
        (["optim.lr=1e-3,0.001"], "Give each value once"),
        (["engine=auto,torch"], "engine changes nothing that is trained: give one value, or another zoo.name for each"),
        (["+zoo=usps_hyp_rand", "data=tiny", "zoo.name=tiny", "seed=1", "draw=0,1"], "sweep `draw`, not `seed`"),
        (["data.train=41"], "60 images were found"),
        (["engine=troch"], "unknown engine=troch: choose from auto, torch"),
        (["zoo.name=../elsewhere"], "zoo.name=../elsewhere: must be a folder's name"),
    ],
)
def test_refused(start: Callable[..., Path], tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ZooError, match=message):
        start(*overrides)
    assert not (tmp_path / "sweeps").exists()


def test_another_protocol_is_refused(start: Callable[..., Path]) -> None:
    folder = start("trainer.max_epochs=3")
    before = paths.config(folder).read_text()
    with pytest.raises(ZooError, match="would hold models of different trainer.max_epochs: 3, 2.*another zoo.name"):
        start("trainer.max_epochs=2")
    assert paths.config(folder).read_text() == before


def test_a_foreign_directory_is_refused(start: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "sweeps/tiny").mkdir(parents=True)
    (tmp_path / "sweeps/tiny/thesis.tex").touch()
    with pytest.raises(ZooError, match="is no sweep: it has no config.json, but thesis.tex"):
        start()
    assert [path.name for path in (tmp_path / "sweeps/tiny").iterdir()] == ["thesis.tex"]


def test_the_log_tells_each_command_and_its_end(grid: Callable[..., Grid], tmp_path: Path) -> None:
    nodes = list(grid(f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", "zoo.name=tiny", "seed=1,2"))
    prepare(nodes, ["seed=1,2"])
    with pytest.raises(KeyboardInterrupt), training(nodes, ["again"]):
        raise KeyboardInterrupt
    lines = paths.log(tmp_path / "tiny").read_text().splitlines()
    assert [line.split(" ", 1)[1].split(" on ")[0] for line in lines] == [
        *("began 2 nodes", "done", "began 2 nodes", "ended by KeyboardInterrupt")
    ]
    assert lines[0].endswith(": seed=1,2") and lines[2].endswith(": again")


def test_a_process_whose_user_has_no_name_trains_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers; getpass raises either, by Python's version."""
    for error in (OSError, KeyError):
        monkeypatch.setattr(log.getpass, "getuser", Mock(side_effect=error("no name")))
        assert log.user() == "unknown"


@pytest.mark.parametrize("size", [0, 1000, 100_000])
def test_damaged_images_are_made_anew(
    start: Callable[..., Path], capsys: pytest.CaptureFixture[str], size: int
) -> None:
    folder = start()
    whole = paths.images(folder).read_bytes()
    paths.images(folder).unlink()  # the cache has the same file
    paths.images(folder).write_bytes(whole[:size])
    start()
    assert f"{paths.images(folder)} is damaged, and is made anew" in capsys.readouterr().err
    assert paths.images(folder).read_bytes() == whole


@pytest.mark.parametrize("damage", [flipped, lambda content: content[:1000], lambda content: b""])
def test_damage_to_the_images_is_noticed_in_the_cache_and_in_the_sweep(
    start: Callable[..., Path], capsys: pytest.CaptureFixture[str], damage: Callable[[bytes], bytes]
) -> None:
    folder = start()  # which has the cache's file, by a link
    whole = paths.images(folder).read_bytes()
    paths.images(folder).write_bytes(damage(whole))
    start()
    told = capsys.readouterr().err
    assert "anew: it was damaged" in told and f"{paths.images(folder)} is damaged, and is made anew" in told
    assert paths.images(folder).read_bytes() == whole


def test_images_of_the_same_name_but_other_content_are_refused(
    start: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = start()
    before = paths.images(folder).read_bytes()
    monkeypatch.setattr(tiny, "NOISE", 1)
    for cached in (tmp_path / "cache").iterdir():
        cached.unlink()
    with pytest.raises(ZooError, match="has other images than the raw files of data=tiny make now.*another zoo.name"):
        start("seed=5")
    assert paths.images(folder).read_bytes() == before

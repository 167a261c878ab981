"""Populations made to do harm: nothing of them is executed, nothing outside is read, and the file is named."""

import gzip
import json
import os
import pickle
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.foreign import raw
from tests.foreign.test_released import models_of, opened
from zoo.curation.conversion import convert
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.foreign.opening import open_foreign
from zoo.foreign.population import MOST_EPOCHS
from zoo.foreign.released import open_released

pytestmark = pytest.mark.usefixtures("without_drawing")

SECRET = "the secret of another user"


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return raw.released(tmp_path / "raw", models=2)


class Harmful:
    """Makes the file `path` when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def archive_of(path: Path, name: str, content: bytes = b"{}", mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zoo/a/params.json", "{}")
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


# no code


@pytest.mark.parametrize("place", ["checkpoint", "optimizer", "images"])
def test_no_pickle_is_executed(zoo: Path, tmp_path: Path, place: str) -> None:
    harm = tmp_path / "harm"
    run = models_of(zoo)[0]
    file = {"checkpoint": paths.checkpoint(run, 0), "optimizer": paths.optimizer(run, 2), "images": paths.images(zoo)}
    torch.save({"module_list.0.weight": Harmful(harm), "trainset": Harmful(harm)}, file[place])
    [summary] = convert(zoo, tmp_path / "zoo").values()
    assert not harm.exists()
    assert bool(summary["missing"]) == (place == "checkpoint") and paths.images(tmp_path / "zoo").exists() == (
        place != "images"
    )


def test_a_bare_pickle_is_no_checkpoint(zoo: Path, tmp_path: Path) -> None:
    path = paths.checkpoint(models_of(zoo)[0], 1)
    path.write_bytes(pickle.dumps(Harmful(tmp_path / "harm")))
    with pytest.raises(ZooError, match=r"checkpoint_000001.checkpoints is damaged or no checkpoint"):
        opened(zoo).weights.state(0, 1)
    assert not (tmp_path / "harm").exists()


def test_no_target_is_imported(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "harmful_module.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')\nclass Net: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    for run in models_of(zoo):
        config = json.loads(paths.params(run).read_text())
        for name in ("cnn_small", "evil"):
            choice = {"_target_": "harmful_module.Net", "name": name, "channels_in": 1}
            paths.params(run).write_text(json.dumps(config | {"node": run.name, "config": {"model": choice}}))
            (zoo / "model.py").write_text("raise SystemExit")
            assert opened(zoo).choice is None
    convert(zoo, tmp_path / "zoo")
    assert "harmful_module" not in sys.modules and not (tmp_path / "harm").exists()
    assert not paths.model_source(tmp_path / "zoo").exists()


def test_the_layout_of_a_matrix_is_no_code(tmp_path: Path) -> None:
    raw.small_cnn(tmp_path / "raw")
    layout = tmp_path / "raw" / "layout.csv"
    layout.write_text(layout.read_text().replace('"(16,)"', f"\"(open('{tmp_path}/harm','w'),)\"", 1))
    with pytest.raises(ZooError, match=r"layout.csv is damaged"):
        open_foreign(tmp_path / "raw")
    assert not (tmp_path / "harm").exists()


def test_a_matrix_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    raw.small_cnn(tmp_path / "raw")
    np.save(tmp_path / "raw" / "weights.npy", np.array([[Harmful(tmp_path / "harm")]], dtype=object))
    with pytest.raises(ZooError, match=r"weights.npy is damaged"):
        open_foreign(tmp_path / "raw")
    assert not (tmp_path / "harm").exists()


# no way out


@pytest.mark.parametrize("name", ["../../etc/x/params.json", "/etc/x", "zoo/../../x", "zoo\\..\\x"])
def test_names_in_a_zip_file_that_lead_out(tmp_path: Path, name: str) -> None:
    path = archive_of(tmp_path / "raw.zip", name)
    with pytest.raises(ZooError, match=r"raw\.zip holds .* which leads out of its folder"):
        open_released(path)


def test_links_in_a_zip_file(tmp_path: Path) -> None:
    path = archive_of(tmp_path / "raw.zip", "zoo/a/result.json", b"/etc/passwd", stat.S_IFLNK | 0o777)
    with pytest.raises(ZooError, match=r"raw\.zip holds 'zoo/a/result.json', a symbolic link"):
        open_released(path)


@pytest.mark.parametrize("what", ["params", "result", "checkpoint", "folder"])
def test_links_out_of_the_folder_are_not_followed(zoo: Path, tmp_path: Path, what: str) -> None:
    run = models_of(zoo)[0]
    place = {"params": paths.params(run), "result": paths.result(run), "checkpoint": paths.checkpoint(run, 1)}
    outside = tmp_path / "outside"
    if what == "folder":
        os.rename(run / "checkpoint_000001", outside)
        (run / "checkpoint_000001").symlink_to(outside)
    else:
        os.rename(place[what], outside)
        place[what].symlink_to(outside)
    [summary] = convert(zoo, tmp_path / "zoo").values()
    assert "is not followed" in summary["missing"][run.name]


def test_a_link_within_the_folder_is_followed(zoo: Path, tmp_path: Path) -> None:
    run = models_of(zoo)[0]
    content = paths.checkpoint(run, 1).read_bytes()
    os.rename(paths.checkpoint(run, 1), zoo / "elsewhere")
    paths.checkpoint(run, 1).symlink_to(zoo / "elsewhere")
    convert(zoo, tmp_path / "zoo")
    copied = paths.checkpoint(paths.runs(tmp_path / "zoo") / run.name, 1)
    assert copied.read_bytes() == content and not copied.is_symlink()


def test_a_pipe_is_not_waited_for(zoo: Path) -> None:
    path = paths.checkpoint(models_of(zoo)[0], 1)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ZooError, match=r"checkpoints is no file"):
        opened(zoo).weights.state(0, 1)


@pytest.mark.parametrize("outside", ["../secret.pt", "{}/secret.pt"])
def test_tables_that_name_files_elsewhere(tmp_path: Path, outside: str) -> None:
    (tmp_path / "raw").mkdir()
    torch.save({"w": torch.rand(2, 2)}, tmp_path / "secret.pt")
    torch.save({"w": torch.rand(2, 2)}, tmp_path / "raw" / "a.pt")
    name = outside.format(tmp_path)
    raw.write_csv(tmp_path / "raw" / "labels.csv", ["path", "note"], [["a.pt", 1], [name, 2]])
    source = open_foreign(tmp_path / "raw")
    assert source is not None and len(source.nodes) == 2
    with pytest.raises(ZooError, match=r"secret\.pt leads out of"):
        source.weights.state(1, 0)
    table = {"train": {"path": [name], "score": [0.5], "step": [1]}}
    (tmp_path / "raw" / "splits.json").write_text(json.dumps(table))
    with pytest.raises(ZooError, match=r"secret\.pt leads out of"):
        open_foreign(tmp_path / "raw" / "splits.json")


# sane sizes


def test_a_parameter_file_of_many_bytes_is_not_read(tmp_path: Path) -> None:
    bomb = archive_of(tmp_path / "raw.zip", "zoo/b/params.json", b" " * (2**24 + 1))
    assert bomb.stat().st_size < 2**20
    with pytest.raises(ZooError, match=r"b/params.json has 16,777,217 bytes, and no such file needs more|not trained"):
        open_released(bomb)


def test_a_checkpoint_that_unpacks_to_much_more_than_it_is(zoo: Path) -> None:
    path = paths.checkpoint(models_of(zoo)[0], 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("checkpoints/data.pkl", b"")
        archive.writestr("checkpoints/data/0", bytes(2**24))
    with pytest.raises(ZooError, match="unpack to more than it has bytes"):
        opened(zoo).weights.state(0, 1)


def test_tensors_that_are_larger_than_their_file(tmp_path: Path) -> None:
    state = {"fc.weight": torch.zeros(1).expand(2**20, 2**10)}
    raw.write_model(tmp_path / "raw" / "a", raw.params("MLP"), {0: state})
    with pytest.raises(ZooError, match="its tensors are larger than the file"):
        open_released(tmp_path / "raw")


def test_an_epoch_that_no_training_has(zoo: Path, tmp_path: Path) -> None:
    run = models_of(zoo)[0]
    (run / "checkpoint_000002").rename(run / f"checkpoint_{MOST_EPOCHS + 1}")
    source = opened(zoo)
    assert source.weights.shape[1] == 3 and source.missing.keys() == {run.name}


def test_metrics_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw.small_cnn(tmp_path / "raw")
    monkeypatch.setattr("zoo.foreign.small_cnn.LARGEST", 2**16)
    with gzip.open(tmp_path / "raw" / "metrics.csv.gz", "wb") as file:
        file.write(b" " * 2**17)
    with pytest.raises(ZooError, match=r"metrics\.csv\.gz is damaged .*it unpacks to more than"):
        open_foreign(tmp_path / "raw")


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": "\\ud800"}', "[]", "", "\xff"])
def test_odd_parameters_leave_the_model_out(zoo: Path, tmp_path: Path, content: str) -> None:
    run = models_of(zoo)[1]
    paths.params(run).write_text(content, encoding="latin-1")
    [summary] = convert(zoo, tmp_path / "zoo").values()
    assert summary["missing"].keys() == {run.name} and "params.json" in summary["missing"][run.name]


def test_names_and_values_are_harmless_in_the_documents(tmp_path: Path) -> None:
    config = raw.params(**{"model::nlin": "tanh", "<b>x": "![x](http://x)", "status": "won", "id": 7})
    for number in range(2):
        state = {"w.weight": torch.rand(2, 2)}
        name = f"<img src=x>,a=`b`,{number}"
        raw.write_model(tmp_path / "raw" / name, config | {"<b>x": f"![x](http://x){number}"}, {0: state})
    convert(tmp_path / "raw", tmp_path / "zoo")
    readme = paths.readme(tmp_path / "zoo").read_text()
    assert "<b>" not in readme and "![x]" not in readme and "&#60;b&#62;" in readme

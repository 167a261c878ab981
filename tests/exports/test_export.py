"""The command, whatever the format."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.exports.conftest import EPOCHS, MODELS
from tests.exports.fabricated import SmallCNN, fabricate
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.exports import content, format, many_files
from zoo.exports import export as export_module
from zoo.exports.content import Content
from zoo.exports.export import export as export_zoo
from zoo.exports.format import Format, load, names

Export = Callable[..., Path]
DOCS = Path(__file__).parents[2] / "docs" / "exports.md"


def test_every_module_of_a_format_is_one() -> None:
    assert names() == sorted(
        ["aiml", "hdf5", "npz", "parquet", "sane", "smallcnn", "splits", "tf", "trajectories", "wildpark"]
    )
    for name in names():
        assert load(name).epochs in ("last", "all"), name


def test_every_format_and_option_is_documented() -> None:
    text = DOCS.read_text()
    for name in names():
        assert f"## {name}" in text or f"--to {name}`" in text, name
        for option in load(name).options:
            assert f"--{option.replace('_', '-')}" in text, option


def test_a_format_is_added_by_one_file(
    export: Export, small_cnns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one in the documentation."""
    example = DOCS.read_text().rpartition("```python\n")[2].partition("```")[0]
    (tmp_path / "text.py").write_text(example)
    monkeypatch.setattr(format.formats, "__path__", [*format.formats.__path__, str(tmp_path)])
    states = np.loadtxt(export(small_cnns, "text") / "states.txt", dtype=np.float32)
    assert np.array_equal(states, Content(small_cnns, "last").weights(np.arange(MODELS)))
    monkeypatch.delitem(sys.modules, f"{format.formats.__name__}.text")


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [("last", [EPOCHS]), ("all", list(range(EPOCHS + 1))), ("0", [0]), ("3,1", [1, 3])],
)
def test_epochs_are_chosen(small_cnns: Path, epochs: str, expected: list[int]) -> None:
    chosen = Content(small_cnns, epochs)
    assert chosen.states["epoch"].tolist() == expected * MODELS
    assert chosen.states["id"].tolist() == [model for model in range(MODELS) for _ in expected]
    stored = chosen.dataset.mapped.states(np.arange(MODELS * (EPOCHS + 1))).view(MODELS, EPOCHS + 1, -1)
    assert np.array_equal(chosen.weights(np.arange(len(chosen))), stored[:, expected].reshape(len(chosen), -1))


@pytest.mark.parametrize("epochs", ["5", "-6", "0,", "1.0", "first", "²", ""])
def test_epochs_that_there_are_not_are_an_error(small_cnns: Path, epochs: str) -> None:
    with pytest.raises(ZooError, match="give last, best, all, or numbers up to 4"):
        Content(small_cnns, epochs or ",")


def test_the_last_epoch_is_each_model_s_own(gappy: Path) -> None:
    states = Content(gappy, "last", finite=False).states
    assert states["epoch"].tolist() == [1, 3, 3, 3, 3, 2, 3, 3]
    assert 5 not in Content(gappy, "last").states["id"].tolist()  # it diverged at its last
    assert (2, 5) not in list(zip(Content(gappy).states["epoch"], Content(gappy).states["id"], strict=True))


def test_what_was_exported_is_noted_and_said(export: Export, small_cnns: Path, capsys: pytest.CaptureFixture) -> None:
    out = export(small_cnns, "splits", "--label", "model.activation", "--epochs", "2")
    assert capsys.readouterr().out == f"12 states of 12 models are in {out}, as splits\n"
    assert json.loads((out / "export.json").read_text()) == {
        **{"format": "splits", "zoo": "small", "epochs": "2", "label": "model.activation"},
        **{"models": 12, "states": 12},
    }


def test_an_earlier_export_is_replaced_and_nothing_else(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "npz")
    assert export(small_cnns, "npz", "--epochs", "last") == out
    with np.load(out / "zoo.npz") as arrays:
        assert len(arrays["weights"]) == MODELS
    (out / "export.json").write_text("{}")
    with pytest.raises(SystemExit, match="is there and is no earlier export"):
        export(small_cnns, "npz")
    (out / "export.json").unlink()
    with pytest.raises(SystemExit, match="is there and is no earlier export"):
        export(small_cnns, "npz")


def test_zoo_and_export_can_t_lie_one_in_the_other(small_cnns: Path) -> None:
    for out in (small_cnns, small_cnns / "npz", small_cnns.parent):
        with pytest.raises(ZooError, match="lie one in the other"):
            export_zoo(small_cnns, "npz", out)


def test_an_export_that_fails_leaves_nothing(small_cnns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(content: Content, folder: Path, options: object) -> None:
        (folder / "half").write_text("")
        raise ZooError("no")

    monkeypatch.setattr(export_module, "load", lambda name: Format(fail, "last"))
    with pytest.raises(ZooError, match="no"):
        export_zoo(small_cnns, "npz", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_options_of_another_format_are_an_error(export: Export, small_cnns: Path) -> None:
    with pytest.raises(SystemExit, match="--released-names is not for --to npz"):
        export(small_cnns, "npz", "--released-names")
    with pytest.raises(SystemExit, match="--token-size is not for --to npz"):
        export(small_cnns, "npz", "--token-size", "3")


def test_what_is_no_zoo_is_an_error(export: Export, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is no zoo"):
        export(tmp_path / "nothing", "npz")


def test_a_missing_package_is_named(small_cnns: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.delitem(sys.modules, f"{format.formats.__name__}.hdf5", raising=False)
    with pytest.raises(ZooError, match=r"needs the package h5py: pip install 'model-zoos\[export\]'"):
        export_zoo(small_cnns, "hdf5", tmp_path / "out")


def test_commands_are_known_without_pytorch() -> None:
    code = "import sys; from zoo.__main__ import parser; parser(); print({'torch', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_pieces_are_small_and_make_the_whole(small_cnns: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Content(small_cnns)
    monkeypatch.setattr(content, "PIECE_BYTES", 3 * 4 * 4970)
    pieces = list(whole.pieces())
    assert [len(rows) for rows in pieces] == [3] * 20
    together = np.concatenate([whole.weights(rows) for rows in pieces])
    assert np.array_equal(together, whole.weights(np.arange(60)))


def test_a_zoo_that_was_made_anew_is_read_anew(export: Export, tmp_path: Path) -> None:
    zoo, states = tmp_path / "zoo", []
    for seed in (0, 1):
        fabricate(zoo, SmallCNN(), [{"optim.lr": 0.1}], 1, scale={0: seed})
        states.append(torch.load(next(export(zoo, "splits").glob("states/*/*.pt")))["0.bias"])
        shutil.rmtree(zoo)
    assert not states[0].any() and states[1].all()


def test_links_out_of_the_zoo_are_not_followed(export: Export, small_cnns: Path, tmp_path: Path) -> None:
    zoo = shutil.copytree(small_cnns, tmp_path / "linked")
    params = paths.params(next(paths.runs(zoo).iterdir()))
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    params.unlink()
    os.symlink(secret, params)
    with pytest.raises(SystemExit, match="is a symbolic link out of"):
        export(zoo, "aiml")


@pytest.mark.slow  # processes
def test_many_files_are_written_by_all_cores_alike(
    export: Export, small_cnns: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def samples(out: Path) -> dict[str, bytes]:
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.glob("dataset_torch.*/*")}

    alone = samples(export(small_cnns, "sane", "--epochs", "all"))
    monkeypatch.setattr(many_files, "FILES_A_PROCESS", 1)
    monkeypatch.setattr(many_files, "cpu_count", lambda: 2)
    assert samples(export(small_cnns, "sane", "--epochs", "all")) == alone and len(alone) == MODELS * (EPOCHS + 1)

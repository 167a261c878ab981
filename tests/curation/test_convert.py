"""Zoos made of populations from elsewhere: they open, say what is known, and hold the states of the files."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from tests.foreign import raw
from tests.foreign.test_released import flat, models_of, zipped
from tests.typed import run_as_elsewhere, zoo_command
from zoo import ZooDataset
from zoo.curation.conversion import convert
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.runs import Runs

pytestmark = pytest.mark.usefixtures("without_drawing")


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_zoo_in_the_released_layout(tmp_path: Path, kind: str) -> None:
    root = raw.released(tmp_path / "raw")
    source = zipped(root) if kind == "zip" else root
    zoo = tmp_path / "zoos" / "mnist"
    [summary] = convert(source, zoo, data="mnist").values()
    assert summary["models"] == 4 and summary["states"] == 12 and summary["missing"] == {}
    dataset = ZooDataset(zoo)
    states = [torch.load(path) for run in models_of(root) for path in paths.checkpoints(run)]
    assert torch.equal(dataset.weights, torch.stack([flat(state) for state in states]))
    assert set(dataset.properties["data"]) == {"mnist"} and dataset.factors == ["model.dropout", "seed"]
    assert dataset.properties["test_acc"].tolist() == pytest.approx([0.1, 0.19, 0.28] * 4)
    assert dataset.images().trainset.images.shape == (20, 1, 28, 28)
    runs = Runs(zoo)
    for run in models_of(root):
        params, records = runs.params(run.name), runs.records(run.name)
        assert json.loads((run / "params.json").read_text()).items() <= params.items()
        assert params["model.activation"] == "tanh" and params["config"]["model"]["channels_in"] == 1
        assert [record["training_iteration"] for record in records] == [0, 1, 2]
        for record in records:
            content = paths.checkpoint(run, record["training_iteration"]).read_bytes()
            assert runs.checkpoint(run.name, record) == content  # and its sha256 is the record's
    config = json.loads(paths.config(zoo).read_text())
    assert config["protocol"]["batch_size"] == 10 and config["protocol"]["trainer.max_epochs"] == 2
    assert config["search_pattern"] == {"model.dropout": [0.0, 0.5], "seed": [0, 1, 2, 3]}


def test_its_example_without_this_project_runs(tmp_path: Path) -> None:
    convert(raw.released(tmp_path / "raw"), tmp_path / "zoo")
    for path in (tmp_path / "zoo",):
        example = re.findall(r"```python\n(.*?)```", paths.readme(path).read_text(), flags=re.DOTALL)[1]
        run_as_elsewhere(example, path)


def test_the_example_of_a_zoo_without_images_runs(tmp_path: Path) -> None:
    raw.small_cnn(tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "zoo")
    assert not paths.images(tmp_path / "zoo").exists()
    example = re.findall(r"```python\n(.*?)```", paths.readme(tmp_path / "zoo").read_text(), flags=re.DOTALL)[1]
    run_as_elsewhere(example, tmp_path / "zoo")


def test_gaps_are_kept_as_gaps(tmp_path: Path) -> None:
    root = raw.released(tmp_path / "raw")
    first, second, *_ = models_of(root)
    shutil.rmtree(first / "checkpoint_000001")
    shutil.rmtree(second / "checkpoint_000000")
    convert(root, tmp_path / "zoo")
    dataset = ZooDataset(tmp_path / "zoo")
    assert len(dataset) == 10 and dataset.weights.isfinite().all()
    assert dataset.properties[["id", "epoch"]].to_numpy().tolist()[:4] == [[0, 0], [0, 2], [1, 1], [1, 2]]
    whole = ZooDataset(tmp_path / "zoo", finite=False)
    assert whole.weights[1].isnan().all() and whole.weights[3].isnan().all()
    table = pd.read_csv(paths.metrics(tmp_path / "zoo"))
    assert table["kept"].tolist()[:4] == [True, False, True, False] and table["test_acc"][1] == pytest.approx(0.19)


def test_a_zoo_without_gaps_has_no_column_of_them(tmp_path: Path) -> None:
    convert(raw.released(tmp_path / "raw"), tmp_path / "zoo")
    assert "kept" not in pd.read_csv(paths.metrics(tmp_path / "zoo"))


def test_what_was_never_measured_at_the_first_epoch(tmp_path: Path) -> None:
    root = raw.released(tmp_path / "raw")
    for run in models_of(root):
        lines = [json.loads(line) for line in (run / "result.json").read_text().splitlines()]
        lines[0] |= {"train_loss": -999, "train_acc": -999}
        (run / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    convert(root, tmp_path / "zoo")
    found = ZooDataset(tmp_path / "zoo").properties
    assert found["train_acc"].isna().tolist() == [True, False, False] * 4 and found["test_acc"].notna().all()


def test_damaged_models_are_left_out_and_named(tmp_path: Path) -> None:
    root = raw.released(tmp_path / "raw", models=6)
    runs = models_of(root)
    (runs[1] / "params.json").write_text("{")
    paths.checkpoint(runs[2], 1).write_bytes(b"PK\x03\x04 and no more")
    edit = json.loads((runs[3] / "params.json").read_text()) | {"seed": 10**400}
    (runs[3] / "params.json").write_text(json.dumps(edit))
    torch.save({"module_list.0.weight": torch.rand(1)}, paths.checkpoint(runs[4], 2))
    [summary] = convert(root, tmp_path / "zoo").values()
    assert summary["missing"].keys() == {run.name for run in runs[1:5]} and summary["models"] == 2
    assert not any(str(tmp_path) in reason for reason in summary["missing"].values())
    assert "checkpoint_000001" in summary["missing"][runs[2].name] and "'seed'" in summary["missing"][runs[3].name]
    assert sorted(path.name for path in paths.runs(tmp_path / "zoo").iterdir()) == [runs[0].name, runs[5].name]
    assert len(ZooDataset(tmp_path / "zoo")) == 6


def test_a_line_that_is_no_record_leaves_its_state_without_one(tmp_path: Path) -> None:
    """Opened, the state is there with unknown metrics; converted, it is not."""
    root = raw.released(tmp_path / "raw")
    file = models_of(root)[1] / "result.json"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(f"{lines[0]}no record\n{lines[2]}")
    with pytest.warns(UserWarning, match="result.json, line 2 is no record"):
        source = ZooDataset(root)
    with pytest.warns(UserWarning, match="result.json, line 2 is no record"):
        [summary] = convert(root, tmp_path / "zoo").values()
    assert len(source) == 12 and source.properties["test_acc"].isna().tolist() == [row == 4 for row in range(12)]
    zoo = ZooDataset(tmp_path / "zoo")
    assert summary["missing"] == {} and len(zoo) == 11 and zoo.properties["epoch"].tolist()[3:5] == [0, 2]


def test_seeds_of_64_bits(tmp_path: Path) -> None:
    root = raw.released(tmp_path / "raw", models=2)
    seeds = [2**64 - 1, 5]
    for run, seed in zip(models_of(root), seeds, strict=True):
        params = json.loads((run / "params.json").read_text()) | {"seed": seed}
        (run / "params.json").write_text(json.dumps(params))
    assert ZooDataset(root).models["seed"].tolist() == seeds
    convert(root, tmp_path / "zoo")
    assert ZooDataset(tmp_path / "zoo").models["seed"].tolist() == seeds
    assert json.loads(paths.config(tmp_path / "zoo").read_text())["search_pattern"]["seed"] == sorted(seeds)


def test_states_that_are_not_finite_are_diverged(tmp_path: Path) -> None:
    root = raw.released(tmp_path / "raw")
    path = paths.checkpoint(models_of(root)[0], 2)
    state = torch.load(path)
    state["module_list.0.bias"][0] = torch.inf
    torch.save(state, path)
    [summary] = convert(root, tmp_path / "zoo").values()
    assert summary["diverged"] == {models_of(root)[0].name: 2} and len(ZooDataset(tmp_path / "zoo")) == 11


def test_the_matrix_of_the_small_cnn_zoo(tmp_path: Path) -> None:
    states = raw.small_cnn(tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "zoo")
    dataset = ZooDataset(tmp_path / "zoo")
    steps = pd.read_csv(paths.metrics(tmp_path / "zoo"))["step"]
    for (model, step), state in states.items():
        [row] = [row for row in range(15) if row // 5 == int(model[-1]) and steps[row] == step]
        assert torch.equal(dataset.weights[row], flat(state))
    assert "def build" in paths.model_source(tmp_path / "zoo").read_text()


def test_the_wild_park_becomes_a_zoo_for_each_architecture(tmp_path: Path) -> None:
    made = convert(raw.wild_park(tmp_path / "park"), tmp_path / "zoos")
    assert sorted(path.name for path in made) == ["conv_4k3_8k5", "conv_8k5_8k3_4k3"]
    for zoo in made:
        assert len(ZooDataset(zoo)) == 4


def test_a_folder_with_labels_has_no_class(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    torch.save({"w": torch.rand(2, 2)}, tmp_path / "raw" / "a.pt")
    raw.write_csv(tmp_path / "raw" / "labels.csv", ["path", "test_acc", "note"], [["a.pt", 0.5, "x\ry"]])
    convert(tmp_path / "raw", tmp_path / "zoo")
    assert not paths.model_source(tmp_path / "zoo").exists() and len(ZooDataset(tmp_path / "zoo")) == 1


def test_the_documents_claim_no_licence_for_what_others_made(tmp_path: Path) -> None:
    convert(raw.released(tmp_path / "raw"), tmp_path / "zoo")
    assert "CC-BY" not in paths.licence(tmp_path / "zoo").read_text()
    assert "license" not in yaml.safe_load(paths.citation(tmp_path / "zoo").read_text())
    readme = paths.readme(tmp_path / "zoo").read_text()
    assert "Made from `raw` by `python -m zoo convert`" in readme and "Creative" not in readme


def test_compact(tmp_path: Path) -> None:
    root = raw.released(tmp_path / "raw")
    zoo = tmp_path / "zoo"
    convert(root, zoo, files_of_runs="compact")
    assert paths.runs_archive(zoo).exists() and not paths.runs(zoo).exists()
    runs = Runs(zoo)
    for run in models_of(root):
        for record in runs.records(run.name):
            found = runs.checkpoint(run.name, record)
            assert found == paths.checkpoint(run, record["training_iteration"]).read_bytes()


def test_many_processes_make_the_same_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = raw.released(tmp_path / "raw", models=6)
    convert(root, tmp_path / "one" / "zoo")
    monkeypatch.setattr("zoo.curation.conversion.FEW_STATES", 0)
    monkeypatch.setattr("zoo.curation.conversion.STATES_A_TASK", 6)
    monkeypatch.setattr("zoo.curation.conversion.cpu_count", lambda: 2)
    convert(root, tmp_path / "two" / "zoo")
    for name in (paths.weights, paths.models, paths.metrics):
        assert name(tmp_path / "one" / "zoo").read_bytes() == name(tmp_path / "two" / "zoo").read_bytes()


def test_nothing_that_is_there_is_replaced(tmp_path: Path, sweep: Path, zoo: Path) -> None:
    root = raw.released(tmp_path / "raw")
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "thesis.txt").write_text("mine")
    with pytest.raises(ZooError, match="ZOO=.* is there"):
        convert(root, tmp_path / "zoo")
    with pytest.raises(ZooError, match="lies in"):
        convert(root, root / "zoo")
    with pytest.raises(ZooError, match="is a sweep or a zoo of this project"):
        convert(sweep, tmp_path / "other")
    with pytest.raises(ZooError, match="models has the runs of .*, which is a zoo of this project already"):
        convert(paths.runs(zoo), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    root = raw.released(tmp_path / "raw")
    command = ["convert", root, tmp_path / "zoo", "--data", "mnist"]
    assert zoo_command(monkeypatch, *command) is None
    assert "4 models, 12 states" in capsys.readouterr().out
    assert "is there: choose another" in str(zoo_command(monkeypatch, *command))


def test_states_read_are_those_written(tmp_path: Path) -> None:
    """A sparsified twin has no file of its sparse network: the weights alone hold it."""
    state = raw.state_of(raw.CNNStrided, 1)
    raw.write_model(tmp_path / "raw" / "a", raw.params("CNN9_ARD"), {0: raw.sparsified(state)})
    convert(tmp_path / "raw", tmp_path / "zoo")
    assert not paths.checkpoints(paths.runs(tmp_path / "zoo") / "a")
    assert np.isclose(float((ZooDataset(tmp_path / "zoo").weights == 0).float().mean()), 0.5, atol=0.1)

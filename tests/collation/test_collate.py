"""From a sweep to a zoo, and what is wrong with either."""

import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from joblib import cpu_count
from safetensors.torch import load_file

from tests.conftest import flipped, forget_digests
from tests.test_commands import ROOT, command
from tests.typed import run_as_elsewhere, typed
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.collation import collate as collation
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.latest import latest_sweep
from zoo.format.node_table import read_nodes, write_nodes
from zoo.format.record import read_records, read_state
from zoo.publication import readme as card

EPOCHS = 3  # of the fixture `sweep`


@pytest.fixture
def copied(sweep: Path, tmp_path: Path) -> Path:
    """A copy of the sweep, to be tampered with."""
    return shutil.copytree(sweep, tmp_path / "sweeps" / "tiny")


def runs(sweep: Path) -> list[Path]:
    return sorted(path.parent for path in sweep.glob("*/params.json"))


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def keep_epochs(run: Path, epochs: int) -> None:
    """Let training have stopped after so many epochs."""
    lines = paths.result(run).read_text().splitlines(keepends=True)
    paths.result(run).write_text("".join(lines[: epochs + 1]))


def flip_a_bit(path: Path) -> None:
    """The file is replaced, as others are links to it."""
    content = flipped(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def test_every_file_is_there(zoo: Path) -> None:
    assert {path.name for path in zoo.iterdir()} == {
        *("README.md", "LICENSE", "CITATION.cff", "config.json", "nodes.csv", "dataset.pt", "model.py"),
        *("architecture.json", "index_dict.json", "models.csv", "metrics.csv", "weights.safetensors"),
        *("models", "analysis", "SHA256SUMS"),
    }
    assert {path.name for path in zoo.parent.iterdir()} == {"tiny", "tiny.zip"}
    assert "SPDX-License-Identifier: CC-BY-4.0" in (zoo / "LICENSE").read_text()
    index = json.loads((zoo / "index_dict.json").read_text())
    assert index["idx_start"] == [0, 208, 1414, 1514, 2254]


def test_the_tensor_holds_every_checkpoint(sweep: Path, zoo: Path) -> None:
    states = load_file(zoo / "weights.safetensors")["weights"]
    assert states.shape == (8, EPOCHS + 1, 2464) and states.dtype == torch.float32
    for row in pd.read_csv(zoo / "models.csv").itertuples():
        for epoch in range(EPOCHS + 1):
            state = read_state(sweep / row.node, epoch)
            assert torch.equal(states[row.id, epoch], torch.cat([value.flatten() for value in state.values()]))


def test_the_tables_say_what_params_and_records_say(sweep: Path, zoo: Path) -> None:
    models, metrics = pd.read_csv(zoo / "models.csv"), pd.read_csv(zoo / "metrics.csv")
    assert models["id"].tolist() == list(range(8)) and len(metrics) == 8 * (EPOCHS + 1)
    assert models[["model.dropout", "seed"]].to_numpy().tolist() == [[d, s] for d in (0, 0.5) for s in range(4)]
    for _, row in models.iterrows():
        params, records = json.loads(paths.params(sweep / row["node"]).read_text()), read_records(sweep / row["node"])
        for key in ("init", "optim", "optim.lr", "optim.weight_decay", "model.activation", "model.dropout", "seed"):
            assert row[key] == params[key]
        assert (row["status"], row["diverged"], row["last_epoch"]) == ("finished", False, EPOCHS)
        assert row["test_acc"] == records[-1]["test_acc"]
        assert row["ggap"] == records[-1]["train_acc"] - records[-1]["test_acc"]
        accuracies = [record["val_acc"] for record in records]
        assert row["best_epoch"] == accuracies.index(max(accuracies))
        own = metrics[metrics["id"] == row["id"]]
        assert own["epoch"].tolist() == list(range(EPOCHS + 1))
        assert own["val_loss"].tolist() == pytest.approx([record["val_loss"] for record in records], rel=1e-15)


def test_runs_are_as_in_the_sweep_without_what_is_no_part_of_a_zoo(sweep: Path, zoo: Path) -> None:
    for run in runs(sweep):
        copy, own = contents(paths.runs(zoo) / run.name), contents(run)
        assert copy.items() <= own.items()
        expected = {"params.json", "result.json", "environment.json", "checkpoint_000003/optimizer"}
        assert copy.keys() == expected | {f"checkpoint_00000{epoch}/checkpoints" for epoch in range(EPOCHS + 1)}
        assert paths.checkpoint(paths.runs(zoo) / run.name, 1).samefile(paths.checkpoint(run, 1))


def test_the_readme_s_code_reproduces_the_accuracy_without_this_project(zoo: Path) -> None:
    _, plain = re.findall(r"```python\n(.*?)```", (zoo / "README.md").read_text(), flags=re.DOTALL)
    check = """
assert (predicted == test["labels"]).double().mean().item() == model["test_acc"]
assert torch.equal(vector, torch.cat([value.flatten() for value in network.state_dict().values()]))
"""
    # without dropout, and with it: the keys of their state dicts differ
    codes = [plain.replace("iloc[0]", f"iloc[{model}]") + check for model in (0, 7)]
    run_as_elsewhere("\n".join(codes), zoo)


def test_the_readme_and_the_analysis(zoo: Path) -> None:
    models, readme = pd.read_csv(zoo / "models.csv"), (zoo / "README.md").read_text()
    summary = json.loads(paths.summary(zoo).read_text())
    assert "8 models" in readme and "2,464 parameters" in readme and "32 states" in readme
    assert "| `model.dropout` | 0, 0.5 |" in readme and "| `optim.lr` | 0.001 |" in readme
    assert summary["accuracy"]["test"]["mean"] == pytest.approx(models["test_acc"].mean())
    assert f"| test | {100 * models['test_acc'].mean():.1f} | {100 * models['test_acc'].std():.1f} |" in readme
    for linked in re.findall(r"\]\((analysis/.*?)\)", readme):
        assert (zoo / linked).read_bytes().startswith(b"\x89PNG")
    by_factor = pd.read_csv(paths.accuracy_by_factor(zoo))
    assert by_factor[["factor", "models"]].to_numpy().tolist() == [
        ["model.dropout", 4],
        ["model.dropout", 4],
        ["all", 8],
    ]
    dropped = models.loc[models["model.dropout"] == 0.5, "test_acc"]
    assert by_factor["mean"][1] == pytest.approx(dropped.mean())


def test_the_zip_holds_the_zoo(zoo: Path) -> None:
    with zipfile.ZipFile(zoo.parent / "tiny.zip") as archive:
        members = {info.filename: info for info in archive.infolist()}
        assert members.keys() == {f"tiny/{name}" for name in contents(zoo)}
        assert all(archive.read(name) == (zoo.parent / name).read_bytes() for name in members)
    assert members["tiny/weights.safetensors"].compress_type == zipfile.ZIP_STORED
    assert members["tiny/dataset.pt"].compress_type == members["tiny/models.csv"].compress_type == zipfile.ZIP_DEFLATED


@pytest.mark.usefixtures("without_drawing")
def test_the_sweep_stays_as_it_is(copied: Path, tmp_path: Path) -> None:
    before = contents(copied)
    make_zoo(copied, tmp_path / "zoo")
    shutil.rmtree(tmp_path / "zoo")
    assert contents(copied) == before


def test_the_same_sweep_makes_the_same_zoo(sweep: Path, zoo: Path, tmp_path: Path) -> None:
    make_zoo(sweep, tmp_path / "tiny")
    assert contents(tmp_path / "tiny") == contents(zoo)


@pytest.mark.slow
def test_worker_processes_make_the_same_zoo(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged, unlike, *_ = runs(copied)
    flip_a_bit(paths.checkpoint(damaged, 2))
    records = [record | {"val_loss": None, "val_acc": None} for record in read_records(unlike)]
    paths.result(unlike).write_text("".join(json.dumps(record) + "\n" for record in records))
    monkeypatch.setattr(collation, "MODELS_A_TASK", 1)
    summaries = []
    for processes in (1, 2):
        monkeypatch.setattr(collation, "processes_for", lambda states, parameters, count=processes: count)
        summaries.append(make_zoo(copied, tmp_path / str(processes) / "zoo"))
    assert summaries[0] == summaries[1] and summaries[0]["missing"].keys() == {damaged.name, unlike.name}
    assert contents(tmp_path / "1/zoo") == contents(tmp_path / "2/zoo")


def test_small_sweeps_start_no_processes() -> None:
    assert collation.processes_for(states=51 * 100, parameters=2464) == 1
    assert collation.processes_for(states=51 * 10_000, parameters=2464) == cpu_count()


@pytest.mark.usefixtures("without_drawing")
def test_a_grown_sweep_brings_the_zoo_up_to_date(copied: Path, tmp_path: Path) -> None:
    zoo, late = tmp_path / "zoo", runs(copied)[0]
    late.rename(tmp_path / late.name)
    assert make_zoo(copied, zoo)["missing"] == {late.name: tables.UNTRAINED}
    assert f"- 1 model missing:\n  - {late.name}: not trained yet" in (zoo / "README.md").read_text()
    (tmp_path / late.name).rename(late)
    assert make_zoo(copied, zoo)["missing"] == {}
    assert "missing" not in (zoo / "README.md").read_text().partition("## Generating factors")[0]
    assert len(pd.read_csv(zoo / "models.csv")) == 8
    with zipfile.ZipFile(tmp_path / "zoo.zip") as archive:
        assert f"zoo/models/{late.name}/params.json" in archive.namelist()


@pytest.mark.usefixtures("without_drawing")
def test_an_unfinished_run(copied: Path, tmp_path: Path) -> None:
    run = runs(copied)[0]
    keep_epochs(run, 1)
    summary = make_zoo(copied, tmp_path / "zoo")
    assert summary["unfinished"] == {run.name: 1} and summary["finished"] == 7 and summary["states"] == 30
    models = pd.read_csv(tmp_path / "zoo/models.csv").set_index("node")
    row = models.loc[run.name]
    assert (row["status"], row["last_epoch"]) == ("unfinished", 1)
    assert row["test_acc"] == read_records(run)[1]["test_acc"]
    states = load_file(tmp_path / "zoo/weights.safetensors")["weights"][row["id"]]
    assert states[:2].isfinite().all() and states[2:].isnan().all()
    assert not paths.checkpoint(paths.runs(tmp_path / "zoo") / run.name, 2).exists()
    assert f"{run.name}: epoch 1 of 3" in (tmp_path / "zoo/README.md").read_text()
    # accuracies are those of the finished models alone
    finished = models.loc[models["status"] == "finished", "test_acc"]
    assert summary["accuracy"]["test"]["mean"] == pytest.approx(finished.mean())


def test_a_sweep_without_a_finished_model(copied: Path, tmp_path: Path) -> None:
    for run in runs(copied):
        keep_epochs(run, 0)
    summary = make_zoo(copied, tmp_path / "zoo")
    assert summary["finished"] == 0 and summary["accuracy"]["test"]["mean"] is None
    assert "| test | – | – |" in (tmp_path / "zoo/README.md").read_text()


def test_a_diverged_run_stays_and_is_flagged(copied: Path, tmp_path: Path) -> None:
    run = runs(copied)[0]
    keep_epochs(run, 2)
    state = read_state(run, 2)
    next(iter(state.values()))[0] = torch.nan
    torch.save(state, paths.checkpoint(run, 2))
    lines = paths.result(run).read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {"diverged": True, "train_loss": None})
    paths.result(run).write_text("\n".join(lines) + "\n")
    forget_digests(run)
    summary = make_zoo(copied, tmp_path / "zoo")
    assert summary["diverged"] == {run.name: 2} and summary["unfinished"] == {} and summary["finished"] == 7
    row = pd.read_csv(tmp_path / "zoo/models.csv").set_index("node").loc[run.name]
    assert (row["status"], row["diverged"], row["last_epoch"]) == ("diverged", True, 2)
    metrics = pd.read_csv(tmp_path / "zoo/metrics.csv")
    assert metrics.loc[metrics["id"] == row["id"], "diverged"].tolist() == [False, False, True]


def test_a_zoo_trained_without_validation_images(copied: Path, tmp_path: Path) -> None:
    for run in runs(copied):
        records = [record | {"val_loss": None, "val_acc": None} for record in read_records(run)]
        paths.result(run).write_text("".join(json.dumps(record) + "\n" for record in records))
    assert make_zoo(copied, tmp_path / "zoo")["accuracy"]["val"]["mean"] is None
    models = pd.read_csv(tmp_path / "zoo/models.csv")
    assert models["val_acc"].isna().all() and models["best_epoch"].isna().all() and models["test_acc"].notna().all()
    assert len(ZooDataset(tmp_path / "zoo")) == 32


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
@pytest.mark.parametrize("file", [paths.params, paths.result, lambda run: paths.checkpoint(run, 1)])
@pytest.mark.usefixtures("without_drawing")
def test_a_damaged_run_is_left_out_and_named(
    copied: Path, tmp_path: Path, file: Callable[[Path], Path], content: bytes
) -> None:
    run = runs(copied)[0]
    file(run).write_bytes(content)
    missing = make_zoo(copied, tmp_path / "zoo")["missing"]
    assert missing.keys() == {run.name}
    is_empty_record = file is paths.result and not content
    expected = tables.UNTRAINED if is_empty_record else str(file(run).relative_to(copied))
    assert missing[run.name].startswith(expected) and "\n" not in missing[run.name]
    models = pd.read_csv(tmp_path / "zoo/models.csv")
    assert models["id"].tolist() == list(range(7)) and run.name not in models["node"].tolist()
    assert load_file(tmp_path / "zoo/weights.safetensors")["weights"].isfinite().all()
    assert run.name not in os.listdir(tmp_path / "zoo/models")
    assert missing[run.name] in (tmp_path / "zoo/README.md").read_text()


@pytest.mark.usefixtures("without_drawing")
def test_a_missing_or_foreign_checkpoint(copied: Path, tmp_path: Path) -> None:
    first, second, *_ = runs(copied)
    paths.checkpoint(first, 2).unlink()
    torch.save({"weight": torch.zeros(3)}, paths.checkpoint(second, 0))
    forget_digests(second)
    missing = make_zoo(copied, tmp_path / "zoo")["missing"]
    assert missing.keys() == {first.name, second.name}
    assert "checkpoint_000002/checkpoints is missing" in missing[first.name]
    assert "checkpoint_000000/checkpoints" in missing[second.name] and "its keys are weight" in missing[second.name]


@pytest.mark.parametrize("file", [paths.checkpoint, paths.optimizer])
@pytest.mark.usefixtures("without_drawing")
def test_a_flipped_bit_is_seen(copied: Path, tmp_path: Path, file: Callable[[Path, int], Path]) -> None:
    run = runs(copied)[0]
    flip_a_bit(file(run, EPOCHS))
    missing = make_zoo(copied, tmp_path / "zoo")["missing"]
    assert missing.keys() == {run.name}
    assert f"{file(run, EPOCHS).relative_to(copied)} is damaged: its sha256 is not" in missing[run.name]


@pytest.mark.usefixtures("without_drawing")
def test_an_optimizer_state_that_training_has_removed_is_no_damage(copied: Path, tmp_path: Path) -> None:
    paths.optimizer(runs(copied)[0], EPOCHS).unlink()
    assert make_zoo(copied, tmp_path / "zoo")["missing"] == {}


@pytest.mark.usefixtures("without_drawing")
def test_a_copied_run_is_not_a_second_model(copied: Path, tmp_path: Path) -> None:
    run = runs(copied)[0]
    shutil.copytree(run, copied / "copy")
    (copied / "notes").mkdir()
    summary = make_zoo(copied, tmp_path / "zoo")
    assert summary["models"] == 8 and summary["missing"].keys() == {"copy"}
    assert run.name in summary["missing"]["copy"]


def test_nothing_to_collate(copied: Path, tmp_path: Path) -> None:
    for run in runs(copied):
        paths.result(run).unlink()
    with pytest.raises(ZooError, match="no run to collate.*\n.*not trained yet"):
        make_zoo(copied, tmp_path / "zoo")
    assert [path.name for path in tmp_path.iterdir()] == ["sweeps"]
    with pytest.raises(ZooError, match="no sweep to collate: it has no config.json"):
        make_zoo(tmp_path, tmp_path / "zoo")
    with pytest.raises(ZooError, match="holds no sweep"):
        latest_sweep(tmp_path)


def test_models_of_different_shapes_are_no_zoo(copied: Path, tmp_path: Path) -> None:
    """Of a sweep of version 0.1.0: a later one refuses them before they are trained."""
    paths.architecture(copied).unlink()
    paths.model_source(copied).unlink()
    run = runs(copied)[0]
    params = json.loads(paths.params(run).read_text())
    params["config"]["model"]["channels_in"] = 3
    paths.params(run).write_text(json.dumps(params))
    with pytest.raises(ZooError, match=f"{run.name} can't be in one zoo with|in one zoo with {run.name}"):
        make_zoo(copied, tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()


@pytest.mark.usefixtures("without_drawing")
def test_what_is_no_older_state_of_the_zoo_is_refused(sweep: Path, copied: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter.txt").write_text("years of work")
    other = tmp_path / "other"
    make_zoo(sweep, other)
    smaller = runs(copied)[:4]
    for run in runs(copied)[4:]:
        shutil.rmtree(run)
    rows = read_nodes(copied)
    write_nodes(copied, {run.name: rows[run.name] for run in smaller}, ["seed", "model.dropout"])
    for folder, message in (
        (foreign, "is no zoo"),
        (foreign / "chapter.txt", "is no zoo"),
        (copied, "one in the other"),
        (copied / "zoo", "one in the other"),
        (copied.parent, "one in the other"),
        (other, "holds 4 models that"),
    ):
        before = contents(tmp_path)
        with pytest.raises(ZooError, match=message):
            make_zoo(copied, folder)
        assert contents(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.param(OSError, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("without_drawing")
def test_an_interrupted_collation_leaves_the_old_zoo(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    keep_epochs(runs(copied)[0], 0)
    make_zoo(copied, tmp_path / "zoos/zoo")
    before = contents(tmp_path / "zoos")

    def interrupted(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(card, "document", interrupted)
    for name in ("zoo", "new"):
        with pytest.raises(error):
            make_zoo(copied, tmp_path / "zoos" / name)
    assert contents(tmp_path / "zoos") == before and sorted(os.listdir(tmp_path / "zoos")) == ["zoo", "zoo.zip"]


def test_the_latest_sweep_is_the_one_written_last(tmp_path: Path) -> None:
    for number, name in enumerate(["b", "a", "c"]):
        (tmp_path / name).mkdir()
        paths.config(tmp_path / name).write_text("{}")
        os.utime(paths.config(tmp_path / name), ns=(0, number * 1000))
    (tmp_path / "d").mkdir()
    assert latest_sweep(tmp_path).name == "c"


@pytest.mark.usefixtures("without_drawing")
def test_the_command(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(monkeypatch, tmp_path, "analyze", f"sweeps={sweep.parent}") is None
    told = capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zoos"]
    assert "8 models, 32 states" in told and "- 8 models finished" in told
    for path in re.findall(r"zoos/\S+", told):
        assert (tmp_path / path).exists()


def test_help_reads_well(tmp_path: Path) -> None:
    done = command(tmp_path, f"{ROOT}/analyze.py", "--help")
    assert "python analyze.py sweep=sweeps/NAME" in done.stdout and "zoo_dir: null" in done.stdout

"""Zoos united: every model once, as it was, with ids, tables, checksums and where it came from."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.conftest import train_sweep
from tests.curation.test_verify import a_run, copied, edit_json, edit_record, edit_weights, findings, flip
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.curation.extract import extract
from zoo.curation.merge import merge
from zoo.curation.open_zoo import OpenZoo
from zoo.data.images import Images
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import manifest
from zoo.format.node_table import read_nodes

pytestmark = pytest.mark.usefixtures("without_drawing")

OLD = Path(__file__).parents[1] / "version_0_1_0" / "zoos" / "tiny"


def zoo_of(folder: Path, *overrides: str, files_of_runs: str = "folders") -> Path:
    nodes = train_sweep(folder, "trainer.max_epochs=3", *overrides)
    make_zoo(nodes[0].sweep, folder / "zoo", files_of_runs)
    return folder / "zoo"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 more models: of sgd, which has a momentum, and with two seeds of which `zoo` has one."""
    return zoo_of(tmp_path_factory.mktemp("other"), "optim=sgd", "seed=3,5", "model.dropout=0,0.5")


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2 models that `zoo` has, trained anew, and 1 that it lacks."""
    return zoo_of(tmp_path_factory.mktemp("overlapping"), "seed=1,2,8")


@pytest.fixture(scope="module")
def merged(zoo: Path, other: Path, overlapping: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged") / "both"
    merge([zoo, other, overlapping], folder)
    return folder


def assert_has(new: Path, old: Path, nodes: Sequence[str]) -> None:
    """Whether a zoo has models of another, with every state, record and setting."""
    own, its = OpenZoo.of(new), OpenZoo.of(old)
    for node in nodes:
        row, before = own.nodes.index(node), its.nodes.index(node)
        assert torch.equal(own.weights.model(row).isnan(), its.weights.model(before).isnan())
        assert torch.equal(own.weights.model(row).nan_to_num(), its.weights.model(before).nan_to_num())
        assert own.runs.params(node) == its.runs.params(node)
        assert own.runs.records(node) == its.runs.records(node)
        for record in own.runs.records(node):
            assert own.runs.checkpoint(node, record) == its.runs.checkpoint(node, record)
        pairs = ((own, row), (its, before))
        states = [zoo.states[(zoo.states["id"] == id).array].drop(columns="id") for zoo, id in pairs]
        states = [table.reset_index(drop=True) for table in states]
        pd.testing.assert_frame_equal(*states)
        same = own.models.iloc[row].drop(["id", "variant"]).dropna().to_dict()
        assert same == its.models.iloc[before].drop(["id", "variant"]).dropna().to_dict()


def test_every_model_is_there_as_it_was(merged: Path, zoo: Path, other: Path, overlapping: Path) -> None:
    there = OpenZoo.of(merged)
    assert len(there.nodes) == 8 + 4 + 1
    assert_has(merged, zoo, OpenZoo.of(zoo).nodes)
    assert_has(merged, other, OpenZoo.of(other).nodes)
    assert_has(merged, overlapping, list(set(OpenZoo.of(overlapping).nodes) - set(OpenZoo.of(zoo).nodes)))


def test_it_is_a_zoo_like_any_other(merged: Path) -> None:
    assert findings(merged) == []
    dataset = ZooDataset(merged)
    assert {"model.dropout", "seed", "optim"} <= set(dataset.factors)
    assert len(dataset) == 13 * 4
    assert dataset.models["id"].tolist() == list(range(13))


def test_what_differs_between_the_zoos_is_a_factor(merged: Path) -> None:
    config = json.loads(paths.config(merged).read_text())
    assert config["name"] == "both" and config["models"] == 13
    pattern = config["search_pattern"]
    assert pattern["optim"] == ["adam", "sgd"]
    assert sorted(pattern["seed"]) == [0, 1, 2, 3, 5, 8]
    assert config["protocol"]["optim.momentum"] == 0.9  # of the models that have one
    assert "optim" not in config["protocol"] and config["protocol"]["trainer.max_epochs"] == 3
    assert len(config["commands"]) == 3
    models = pd.read_csv(paths.models(merged))
    assert models.groupby("optim").size().to_dict() == {"adam": 9, "sgd": 4}
    assert models["optim.momentum"].notna().sum() == 4
    assert {row["optim"] for row in read_nodes(merged).values()} == {"adam", "sgd"}


def test_it_says_where_its_models_come_from(merged: Path, zoo: Path, other: Path, overlapping: Path) -> None:
    config = json.loads(paths.config(merged).read_text())
    assert config["merged_from"] == [
        {"name": path.name, "models": models, "sha256sums": manifest.sha256_of(paths.checksums(path))}
        for path, models in ((zoo, 8), (other, 4), (overlapping, 3))
    ]
    assert "It was merged of the zoo `tiny` (8 models), the zoo `zoo` (4 models)" in paths.readme(merged).read_text()


def test_runs_are_links_to_the_same_files(merged: Path, zoo: Path) -> None:
    run = paths.runs(merged) / a_run(zoo).name
    assert paths.checkpoint(run, 1).samefile(paths.checkpoint(a_run(zoo), 1))


def test_of_a_model_that_all_have_the_first_is_taken(zoo: Path, overlapping: Path, tmp_path: Path) -> None:
    merge([overlapping, zoo], tmp_path / "new")
    assert findings(tmp_path / "new") == []
    assert_has(tmp_path / "new", overlapping, OpenZoo.of(overlapping).nodes)


def test_variants_are_united(zoo: Path, tmp_path: Path) -> None:
    for name, dropout in (("with", "> 0"), ("without", "== 0")):
        extract(zoo, f"model.dropout {dropout}", tmp_path / name)
    with_dropout = paths.architecture(tmp_path / "with")  # as of a sweep that has these models alone
    edit_json(with_dropout, lambda architecture: architecture["variants"].pop(0))
    table = pd.read_csv(paths.models(tmp_path / "with")).assign(variant=0)
    table.to_csv(paths.models(tmp_path / "with"), index=False)
    merge([tmp_path / "with", tmp_path / "without"], tmp_path / "new")
    assert findings(tmp_path / "new") == []
    assert sorted(OpenZoo.of(tmp_path / "new").models["variant"]) == [0] * 4 + [1] * 4


def test_a_model_that_is_not_the_same_in_both_is_named(zoo: Path, tmp_path: Path) -> None:
    one = copied(zoo, tmp_path)
    node = OpenZoo.of(zoo).nodes[6]
    edit_weights(one, lambda weights: flip(weights, 6, 2))
    with pytest.raises(ZooError, match=f"^{node} is not the same in .*: its weights at epoch 2 are others"):
        merge([zoo, one], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_model_of_other_records_or_parameters_is_named(zoo: Path, tmp_path: Path) -> None:
    one = copied(zoo, tmp_path)
    run = a_run(one)
    edit_record(run, 1, val_loss=0.5)
    with pytest.raises(ZooError, match=f"^{run.name} is not the same in .*: its val_loss at epoch 1 is .* and 0.5"):
        merge([zoo, one], tmp_path / "new")
    edit_json(paths.params(run), lambda params: params["config"]["optim"].update(lr=0.5))
    with pytest.raises(ZooError, match=f"^{run.name} is not the same in .*: its params.json has other values"):
        merge([zoo, one], tmp_path / "new")


def test_models_trained_for_fewer_epochs_are_unfinished(sweep: Path, zoo: Path, tmp_path: Path) -> None:
    nodes = train_sweep(tmp_path, "seed=0,7", "trainer.max_epochs=1")
    make_zoo(nodes[0].sweep, tmp_path / "short")
    merge([tmp_path / "short", zoo], tmp_path / "new")
    assert findings(tmp_path / "new") == []
    models = OpenZoo.of(tmp_path / "new").models.set_index("node")
    assert len(models) == 9  # the one that both have was trained on in the other
    assert models.loc[nodes[1].name, ["status", "last_epoch"]].tolist() == ["unfinished", 1]
    assert models.loc[nodes[0].name, ["status", "last_epoch"]].tolist() == ["finished", 3]


def test_what_a_schedule_finished_is_never_unfinished(zoo: Path, tmp_path: Path) -> None:
    nodes = train_sweep(tmp_path, "seed=7", "trainer.max_epochs=1", "schedule=one_cycle", "optim=sgd")
    make_zoo(nodes[0].sweep, tmp_path / "short")
    with pytest.raises(ZooError, match="short trains to 1 epochs by a schedule that spans them all, and others to 3"):
        merge([tmp_path / "short", zoo], tmp_path / "new")


def test_other_protocols_are_refused(zoo: Path, tmp_path: Path) -> None:
    exact = zoo_of(tmp_path / "exact", "seed=0", "train_metrics=exact")
    with pytest.raises(ZooError, match="models of different train_metrics .running, exact.: a zoo has one protocol"):
        merge([zoo, exact], tmp_path / "new")


def test_other_images_architectures_and_classes_are_refused(zoo: Path, tmp_path: Path) -> None:
    one = copied(zoo, tmp_path)
    images = Images.load(paths.images(one))
    images.trainset.images[0] += 1
    paths.images(one).unlink()
    images.save(paths.images(one))
    with pytest.raises(ZooError, match="dataset.pt has other images than"):
        merge([zoo, one], tmp_path / "new")
    shutil.copy(paths.images(zoo), paths.images(one))
    source = paths.model_source(one).read_text()
    paths.model_source(one).write_text(source.replace("MaxPool2d(2)", "AvgPool2d(2)"))
    with pytest.raises(ZooError, match="model.py defines CNNSmall otherwise than"):
        merge([zoo, one], tmp_path / "new")
    paths.model_source(one).write_text(f"# another comment\n{source}\n\ndef new() -> None:\n    pass\n")
    merge([zoo, one], tmp_path / "new")
    edit_json(paths.architecture(one), lambda architecture: architecture.update(model="Other"))
    with pytest.raises(ZooError, match="can't be merged with .*: its models are of the class Other, not CNNSmall"):
        merge([zoo, one], tmp_path / "newer")


def test_what_is_there_is_never_replaced(zoo: Path, other: Path, tmp_path: Path) -> None:
    files.write_text(tmp_path / "new" / "precious", "")
    with pytest.raises(ZooError, match="--into=.*/new' is there"):
        merge([zoo, other], tmp_path / "new")
    for zoos in ([zoo], [zoo, zoo]):
        with pytest.raises(ZooError, match="give two zoos or more, each once"):
            merge(zoos, tmp_path / "another")


def test_a_zoo_of_version_0_1_0_is_merged_with_its_like_alone(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="is of version 0.1.0, which named models by other rules|other images"):
        merge([zoo, OLD], tmp_path / "new")
    old = shutil.copytree(OLD, tmp_path / "old")
    merge([OLD, old], tmp_path / "new")
    assert findings(tmp_path / "new") == []
    assert paths.old_nodes(tmp_path / "new").exists() and not paths.nodes(tmp_path / "new").exists()
    assert_has(tmp_path / "new", OLD, OpenZoo.of(OLD).nodes)


def test_links_out_of_a_zoo_are_not_taken(zoo: Path, other: Path, tmp_path: Path) -> None:
    one = copied(other, tmp_path)
    path = paths.checkpoint(a_run(one), 1)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ZooError, match="checkpoint_000001/checkpoints leads out of"):
        merge([zoo, one], tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_compact_zoos_make_a_compact_one_and_others_folders(
    sweep: Path, zoo: Path, other: Path, tmp_path: Path
) -> None:
    compact = tmp_path / "compact"
    make_zoo(sweep, compact, "compact")
    merge([compact, other], tmp_path / "folders")
    assert findings(tmp_path / "folders") == [] and not paths.runs_archive(tmp_path / "folders").exists()
    assert_has(tmp_path / "folders", zoo, OpenZoo.of(zoo).nodes)
    shutil.copytree(compact, tmp_path / "same")
    merge([compact, tmp_path / "same"], tmp_path / "new")
    assert findings(tmp_path / "new") == [] and not paths.runs(tmp_path / "new").exists()
    assert_has(tmp_path / "new", zoo, OpenZoo.of(zoo).nodes)


def test_a_sweep_that_grew_is_collated_over_its_zoo(tmp_path: Path) -> None:
    train_sweep(tmp_path, "seed=1,3", "trainer.max_epochs=1")
    make_zoo(tmp_path / "sweeps/tiny", tmp_path / "zoo")
    before = manifest.read(tmp_path / "zoo")
    train_sweep(tmp_path, "seed=0,2", "trainer.max_epochs=1")
    make_zoo(tmp_path / "sweeps/tiny", tmp_path / "zoo")
    assert findings(tmp_path / "zoo") == []
    models = OpenZoo.of(tmp_path / "zoo").models
    assert models["seed"].tolist() == models["id"].tolist() == [0, 1, 2, 3]
    config = json.loads(paths.config(tmp_path / "zoo").read_text())
    assert [command[-2] for command in config["commands"]] == ["seed=1,3", "seed=0,2"] and config["models"] == 4
    now = manifest.read(tmp_path / "zoo")
    assert {name: now[name] for name in before if name.startswith("models/")}.items() <= before.items()

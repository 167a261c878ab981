"""A zoo through all doors: exported, converted back, cut, united, and each of these verified and used as a dataset."""

import functools
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tests.curation.test_verify import anew, edit_weights
from tests.foreign import raw
from tests.foreign.raw import released
from zoo import ZooDataset
from zoo.curation.conversion import convert
from zoo.curation.extract import extract
from zoo.curation.merge import merge
from zoo.curation.recompute import recompute
from zoo.curation.retrain import retrain
from zoo.curation.verification import verify
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.exports.export import export
from zoo.exports.format import Options


def test_what_comes_back_is_the_same_population(zoo: Path, tmp_path: Path) -> None:
    export(zoo, "aiml", tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "back")
    one, other = ZooDataset(zoo), ZooDataset(tmp_path / "back")
    rows = [one.models["node"].tolist().index(node) for node in other.models["node"]]
    assert torch.equal(one.mapped.states(one.rows).view(8, 4, -1)[rows], other.weights.view(8, 4, -1))
    assert one.models["test_acc"].iloc[rows].tolist() == other.models["test_acc"].tolist()
    with_dropout = other.models["model.dropout"].tolist().index(0.5)  # its keys in the file are those without
    network = other.model(with_dropout)
    assert torch.equal(other.vector(network), other.weights.view(8, 4, -1)[with_dropout, -1])
    images = one.images().testset.images[:4]
    samples = [4 * with_dropout + 3]
    assert torch.allclose(other.predict(images, samples)[0], network(images), atol=1e-5)


def test_a_converted_zoo_is_verified_cut_and_united(zoo: Path, tmp_path: Path) -> None:
    export(zoo, "aiml", tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "back")
    extract(tmp_path / "back", "model.dropout == 0", tmp_path / "without")
    extract(tmp_path / "back", "model.dropout > 0", tmp_path / "with")
    merge([tmp_path / "without", tmp_path / "with"], tmp_path / "both")
    for name, models in (("back", 8), ("without", 4), ("with", 4), ("both", 8)):
        done = verify(tmp_path / name)
        assert done.findings.found == [] and len(done.sound) == models
        assert done.zoo is not None and recompute(done.zoo, done.sound[:2], seed=0, trust=False) == []


def test_a_converted_zoo_with_gaps_is_verified(tmp_path: Path) -> None:
    """Checkpoints that nobody kept, records that lack some metrics."""
    raw = released(tmp_path / "raw", models=3, epochs=3)
    first = sorted(path for path in raw.iterdir() if path.is_dir())[0]
    shutil.rmtree(first / "checkpoint_000001")
    convert(raw, tmp_path / "zoo")
    assert verify(tmp_path / "zoo").findings.found == []


def without_images(folder: Path) -> None:
    released(folder)
    paths.images(folder).unlink()


def sparse(folder: Path) -> None:
    for number, dropout in enumerate((0.0, 0.5)):
        state = raw.state_of(functools.partial(raw.CNNSmall, 1, 10, "tanh", dropout), number)
        config = raw.params("CNN_ARD", **{"model::dropout": dropout, "seed": number})
        raw.write_model(folder / f"m{number}", config, {epoch: raw.sparsified(state) for epoch in (0, 1)})


def labelled(folder: Path) -> None:
    (folder / "nets").mkdir(parents=True)
    rows = []
    for model, epoch in ((0, 0), (0, 9), (1, 0), (1, 9)):
        torch.save(raw.state_of(functools.partial(raw.CNNSmall, 1), model), folder / f"nets/{model}_{epoch}.pt")
        rows.append([f"nets/{model}_{epoch}.pt", f"m{model}", epoch, 0.1 * model, 0.5])
    raw.write_csv(folder / "labels.csv", ["path", "model_id", "epoch", "optim.lr", "test_acc"], rows)


def one_park(folder: Path) -> None:
    """Of one architecture: the rest is taken out of the JSON."""
    table = raw.wild_park(folder)
    splits = {
        split: {key: values[:2] for key, values in columns.items()}
        for split, columns in json.loads(table.read_text()).items()
    }
    table.write_text(json.dumps(splits))


KINDS = {
    "released": released,
    "large": functools.partial(released, models=2, epochs=1, large=True),
    "without_images": without_images,
    "sparse": sparse,
    "small_cnn": raw.small_cnn,
    "wild_park": one_park,
    "folder": labelled,
}


@pytest.mark.parametrize(
    ("kind", "files_of_runs"), [*((kind, "folders") for kind in KINDS), ("released", "compact"), ("sparse", "compact")]
)
@pytest.mark.usefixtures("without_drawing")
def test_zoos_of_every_kind_are_verified_cut_and_united(tmp_path: Path, kind: str, files_of_runs: str) -> None:
    KINDS[kind](tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "zoo", files_of_runs=files_of_runs)
    extract(tmp_path / "zoo", "id == 0", tmp_path / "first")
    extract(tmp_path / "zoo", "id > 0", tmp_path / "others")
    merge([tmp_path / "first", tmp_path / "others"], tmp_path / "both")
    for name in ("zoo", "first", "both"):
        assert verify(tmp_path / name).findings.found == []
    zoo, both = ZooDataset(tmp_path / "zoo"), ZooDataset(tmp_path / "both")
    rows = [both.models["node"].tolist().index(node) for node in zoo.models["node"]]
    count = len(rows)
    assert torch.equal(zoo.weights.view(count, -1), both.weights.view(count, -1)[rows])
    assert both.states.columns.tolist() == zoo.states.columns.tolist()  # `step`, for one


@pytest.mark.usefixtures("without_drawing")
def test_gaps_stay_gaps_in_what_is_cut(tmp_path: Path) -> None:
    root = released(tmp_path / "raw")
    first, second, *_ = sorted(path for path in root.iterdir() if path.is_dir())
    shutil.rmtree(first / "checkpoint_000001")
    shutil.rmtree(second / "checkpoint_000000")
    convert(root, tmp_path / "zoo")
    extract(tmp_path / "zoo", "id < 2", tmp_path / "some")
    assert verify(tmp_path / "some").findings.found == []
    assert ZooDataset(tmp_path / "some").properties["epoch"].tolist() == [0, 2, 1, 2]


@pytest.mark.usefixtures("without_drawing")
def test_numbers_for_a_state_that_there_is_not_are_found(tmp_path: Path) -> None:
    root = released(tmp_path / "raw", models=2)
    shutil.rmtree(sorted(path for path in root.iterdir() if path.is_dir())[0] / "checkpoint_000001")
    convert(root, tmp_path / "zoo")
    paths.archive(tmp_path / "zoo").unlink()
    edit_weights(tmp_path / "zoo", lambda weights: weights.__setitem__((0, 1), 0.5))
    anew(tmp_path / "zoo")
    [finding] = verify(tmp_path / "zoo").findings.found
    assert "has numbers for epoch 1 of model 0, which has no state there" in str(finding)


@pytest.mark.usefixtures("without_drawing")
def test_what_cannot_be_evaluated_or_trained_again_is_said(tmp_path: Path) -> None:
    without_images(tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "zoo")
    done = verify(tmp_path / "zoo")
    assert done.zoo
    with pytest.raises(ZooError, match="zoo has no images, .* can't be evaluated again$"):
        recompute(done.zoo, done.sound, seed=0, trust=False)
    with pytest.raises(ZooError, match="zoo has models that were trained elsewhere: they can't be trained again here$"):
        retrain(done.zoo, done.sound)
    raw.write_images(paths.images(tmp_path / "raw"))
    convert(tmp_path / "raw", tmp_path / "with")
    done = verify(tmp_path / "with")
    assert done.zoo and done.sound[0].records
    lines = " ".join(map(str, recompute(done.zoo, done.sound[:1], seed=0, trust=False)))
    found = set(re.findall(r"says of epoch \d (\w+)", lines))
    assert found and found <= {"test_acc", "test_loss", "val_acc", "val_loss"}  # random weights; training's are means


@pytest.mark.usefixtures("without_drawing")
def test_a_zoo_and_what_came_back_of_it_are_one(zoo: Path, tmp_path: Path) -> None:
    export(zoo, "aiml", tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "back")
    for order in ((zoo, tmp_path / "back"), (tmp_path / "back", zoo)):
        into = tmp_path / f"one_of_{order[0].name}"
        merge(order, into)
        assert verify(into).findings.found == []
        assert torch.equal(ZooDataset(into).weights, ZooDataset(zoo).weights)


@pytest.mark.usefixtures("without_drawing")
def test_splits_come_back_without_a_class(zoo: Path, tmp_path: Path) -> None:
    export(zoo, "splits", tmp_path / "raw", epochs="0,3", options=Options(label="model.dropout"))
    source, own = ZooDataset(tmp_path / "raw"), ZooDataset(zoo, epochs=[0, 3])
    rows = [own.models["node"].tolist().index(node) for node in source.models["node"]]
    assert torch.equal(source.weights.view(8, 2, -1), own.weights.view(8, 2, -1)[rows])
    assert source.factors == ["published_split", "label"] and set(source.models["label"]) == {"0", "1"}
    convert(tmp_path / "raw", tmp_path / "zoo")
    assert verify(tmp_path / "zoo").findings.found == []
    assert "came as state dicts with a JSON of splits" in paths.readme(tmp_path / "zoo").read_text()


def test_the_network_of_the_small_cnn_zoo_goes_to_the_wild_park_and_back(tmp_path: Path) -> None:
    """Strides and padding are fixed in its class, and no params.json says them."""
    raw.small_cnn(tmp_path / "raw", models=2, steps=(0, 86))
    export(tmp_path / "raw", "wildpark", tmp_path / "park", epochs="0")
    images, one, other = torch.rand(3, 1, 16, 16), ZooDataset(tmp_path / "raw"), ZooDataset(tmp_path / "park")
    for model in one.models["node"]:
        assert torch.allclose(one.model(model, 0)(images), other.model(model, 0)(images), atol=1e-6)

"""A zoo through all doors: exported, converted back, cut, united, and each of these verified and used as a dataset."""

import shutil
from pathlib import Path

import torch

from tests.foreign.raw import released
from zoo import ZooDataset
from zoo.curation.conversion import convert
from zoo.curation.extract import extract
from zoo.curation.merge import merge
from zoo.curation.recompute import recompute
from zoo.curation.verification import verify
from zoo.exports.export import export


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

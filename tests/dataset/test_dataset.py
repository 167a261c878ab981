"""Loading a zoo."""

import hashlib
import json
import math
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from tests.conftest import forget_digests
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.dataset.dataset import SPLITS, split_models
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.record import read_records, read_state
from zoo.format.weights import Weights, WeightsWriter
from zoo.node.build import build

EPOCHS = 3  # of the fixture `sweep`


@pytest.fixture
def copied(zoo: Path, tmp_path: Path) -> Path:
    """A copy of the zoo, to be tampered with."""
    return shutil.copytree(zoo, tmp_path / "tiny")


@pytest.fixture(scope="module")
def gappy(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo in which model 0 stopped after epoch 1 and model 5 diverged at epoch 2."""
    folder = tmp_path_factory.mktemp("gappy")
    tampered = shutil.copytree(sweep, folder / "sweep")
    names = [json.loads(path.read_text()) for path in tampered.glob("*/params.json")]
    by_factors = {(node["model.dropout"], node["seed"]): tampered / node["node"] for node in names}
    for run, epochs in ((by_factors[0.0, 0], 1), (by_factors[0.5, 1], 2)):
        lines = paths.result(run).read_text().splitlines(keepends=True)
        paths.result(run).write_text("".join(lines[: epochs + 1]))
    state = read_state(run, 2)
    next(iter(state.values()))[0] = torch.inf
    torch.save(state, paths.checkpoint(run, 2))
    forget_digests(run)
    make_zoo(tampered, folder / "zoo")
    return folder / "zoo"


def test_items_are_the_checkpoints_and_their_properties(sweep: Path, zoo: Path) -> None:
    dataset = ZooDataset(zoo)
    assert len(dataset) == 8 * (EPOCHS + 1) and dataset.factors == ["model.dropout", "seed"]
    for index in (0, 1, 17, 31, -1):
        weights, properties = dataset[index]
        run = sweep / properties["node"]
        record, params = read_records(run)[properties["epoch"]], json.loads(paths.params(run).read_text())
        state = read_state(run, properties["epoch"])
        assert torch.equal(weights, torch.cat([value.flatten() for value in state.values()]))
        for metric in ("train_loss", "train_acc", "val_loss", "val_acc", "test_loss", "test_acc"):
            assert properties[metric] == record[metric]
        assert properties["ggap"] == record["train_acc"] - record["test_acc"]
        for key in ("init", "optim", "optim.lr", "model.activation", "model.dropout", "seed"):
            assert properties[key] == params[key]
        assert {type(value) for value in properties.values()} == {int, float, str}
    with pytest.raises(IndexError):
        dataset[32]


@pytest.mark.parametrize("options", [{}, {"epochs": 2}, {"epochs": [3, 0]}, {"split": "train", "epochs": range(1, 3)}])
def test_weights_and_properties_are_the_items(zoo: Path, options: dict[str, Any]) -> None:
    dataset = ZooDataset(zoo, **options)
    assert dataset.weights.shape == (len(dataset), 2464) and len(dataset.properties) == len(dataset)
    for index in range(len(dataset)):
        weights, properties = dataset[index]
        assert torch.equal(weights, dataset.weights[index])
        assert properties == dataset.properties.iloc[index].to_dict()


@pytest.mark.parametrize(
    ("asked", "epochs"),
    [(None, [0, 1, 2, 3]), (0, [0]), ([3, 1, 3], [1, 3]), (range(2), [0, 1]), (np.arange(2), [0, 1])],
)
def test_epochs(zoo: Path, asked: Any, epochs: list[int]) -> None:
    dataset = ZooDataset(zoo, epochs=asked)
    assert dataset.epochs == epochs
    assert dataset.properties["epoch"].tolist() == epochs * 8
    assert dataset.properties["id"].tolist() == sorted(list(range(8)) * len(epochs))


def test_splits_are_by_model_disjoint_and_complete(zoo: Path) -> None:
    parts = [ZooDataset(zoo, split=split) for split in SPLITS]
    ids = [set(part.properties["id"]) for part in parts]
    assert [len(part) for part in parts] == [4 * len(own) for own in ids]
    assert set.union(*ids) == set(range(8)) and sum(map(len, ids)) == 8
    assert [set(ZooDataset(zoo, split=split, epochs=2).properties["id"]) for split in SPLITS] == ids
    for split, part in zip(SPLITS, parts, strict=True):
        assert set(split_models(part.properties["node"].tolist())) <= {split}


def test_the_shares_of_the_splits() -> None:
    splits = split_models([f"node{number}" for number in range(10_000)])
    assert [(splits == split).mean() for split in SPLITS] == pytest.approx([0.7, 0.15, 0.15], abs=0.01)


def test_a_model_stays_in_its_split_whatever_else_is_in_the_zoo() -> None:
    nodes = [f"node{number}" for number in range(100)]
    splits = split_models(nodes).tolist()
    assert split_models(nodes[::-1]).tolist() == splits[::-1]
    assert split_models(nodes[:10]).tolist() == splits[:10]
    assert split_models(["new", *nodes]).tolist()[1:] == splits
    assert split_models([]).tolist() == []


def test_the_split_is_the_same_for_ever() -> None:
    """`printf node0 | sha256sum` says a05d...: less than b333..., 70 % of all there are; 85 % end at d999..."""
    expected = {
        **{"node0": "train", "node7": "train", "node15": "train"},  # a05d, 9be3, ae8f
        **{"node1": "val", "node4": "val", "modèle": "val"},  # ca12, d2b8, bf5d
        **{"node16": "test", "node19": "test"},  # e8fb, f328
    }
    assert split_models(list(expected)).tolist() == list(expected.values())


def test_the_documented_rule_is_the_rule() -> None:
    text = (Path(__file__).parents[2] / "docs" / "zoo_format.md").read_text()
    [rule] = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "sha256" in block]
    nodes = [f"tanh_seed{number}" for number in range(100)]
    for node, split in zip(nodes, split_models(nodes), strict=True):
        values = {"hashlib": hashlib, "node": node}
        exec(rule, values)
        assert values["split"] == split


def test_an_empty_split_is_an_empty_dataset(copied: Path) -> None:
    models = pd.read_csv(paths.models(copied), dtype={"node": str})
    models.assign(node=[f"node{number}" for number in (0, 2, 3, 4, 5, 7, 8, 9)]).to_csv(
        paths.models(copied), index=False
    )
    dataset = ZooDataset(copied, split="test")
    assert len(dataset) == 0 and list(dataset) == []
    assert dataset.weights.shape == (0, 2464) and dataset.properties.empty
    assert dataset.properties.columns.tolist() == ZooDataset(copied).properties.columns.tolist()


def test_states_load_into_the_class(sweep: Path, zoo: Path) -> None:
    dataset = ZooDataset(zoo)
    images = dataset.images().testset
    for id, node in zip(dataset.models["id"], dataset.models["node"], strict=True):
        network = build(json.loads(paths.params(sweep / node).read_text())["config"]["model"]).eval()
        for epoch in (0, EPOCHS):
            state = dataset.state_dict(node, epoch)
            assert all(torch.equal(state[key], value) for key, value in read_state(sweep / node, epoch).items())
            network.load_state_dict(state)
            assert dataset.state_dict(id, epoch).keys() == state.keys()
        accuracy = (network(images.images).argmax(1) == images.labels).double().mean().item()
        assert accuracy == dataset.models["test_acc"][id]


def test_states_that_are_not_there_or_not_finite_are_left_out(gappy: Path) -> None:
    dataset = ZooDataset(gappy)
    assert len(dataset) == 8 * 4 - 2 - 2
    assert dataset.weights.isfinite().all() and dataset.properties.notna().all(axis=None)
    epochs = dataset.properties.groupby("id")["epoch"].max().tolist()
    assert epochs == [1, 3, 3, 3, 3, 1, 3, 3]
    assert len(ZooDataset(gappy, epochs=3)) == 6
    for index in range(len(dataset)):
        assert torch.equal(dataset[index][0], dataset.weights[index])


def test_all_states_if_asked(gappy: Path) -> None:
    dataset = ZooDataset(gappy, finite=False)
    assert len(dataset) == 32
    by_model = dataset.weights.view(8, 4, -1)
    assert by_model[0, 2:].isnan().all() and by_model[5, 3].isnan().all()
    assert by_model[5, 2].isinf().any() and not by_model[5, 2].isnan().any()
    missing = dataset.properties.groupby("id")["test_acc"].apply(lambda column: column.isna().sum())
    assert missing.tolist() == [2, 0, 0, 0, 0, 1, 0, 0]
    assert dataset.state_dict(5, 2).keys() == dataset.state_dict(4, 2).keys()
    with pytest.raises(ZooError, match="has the epochs 0 to 1, but not 2"):
        dataset.state_dict(0, 2)


def test_a_state_that_is_not_there_is_an_error_that_names_those_that_are(gappy: Path) -> None:
    dataset = ZooDataset(gappy)
    node = dataset.models["node"][0]
    for epoch in (2, -1):
        for ask in (dataset.state_dict, dataset.model):
            with pytest.raises(ZooError, match=f"model 0, {re.escape(node)}, has the epochs 0 to 1, but not {epoch}"):
                ask(0, epoch)
    assert torch.equal(dataset.vector(dataset.state_dict(0)), dataset.state(0, 1))
    assert torch.equal(dataset.state(1, -1), dataset.state(1, 3)) and torch.equal(
        dataset.state(1, -4), dataset.state(1, 0)
    )


def test_a_sharded_zoo_is_no_different(zoo: Path, copied: Path) -> None:
    states = Weights(zoo)
    paths.weights(copied).unlink()
    with WeightsWriter(copied, epochs=4, parameters=2464, shard_bytes=3 * 4 * 2464 * 4) as writer:
        for model in range(8):
            writer.add(torch.stack([states.state(model, epoch) for epoch in range(4)]))
    for options in ({}, {"epochs": 3}, {"split": "val"}):
        whole, sharded = ZooDataset(zoo, **options), ZooDataset(copied, **options)
        assert torch.equal(whole.weights, sharded.weights)
        assert all(torch.equal(whole[index][0], sharded[index][0]) for index in range(len(whole)))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches(zoo: Path, workers: int) -> None:
    dataset = ZooDataset(zoo, epochs=[1, 2])
    loader = DataLoader(dataset, batch_size=5, num_workers=workers, multiprocessing_context="fork" if workers else None)
    batches = list(loader)
    assert torch.equal(torch.cat([weights for weights, _ in batches]), dataset.weights)
    accuracies = torch.cat([properties["test_acc"] for _, properties in batches])
    assert accuracies.tolist() == dataset.properties["test_acc"].tolist()
    assert [node for _, p in batches for node in p["node"]] == dataset.properties["node"].tolist()


def test_processes_are_not_sent_the_weights(zoo: Path) -> None:
    dataset = ZooDataset(zoo, epochs=[1, 2], split="train")
    assert len(dataset) and dataset.weights.shape == (len(dataset), 2464)
    pickled = pickle.dumps(dataset)
    assert len(pickled) < 1000
    assert torch.equal(pickle.loads(pickled).weights, dataset.weights)


def test_changing_weights_does_not_change_the_zoo(zoo: Path) -> None:
    before = paths.weights(zoo).read_bytes()
    ZooDataset(zoo).weights.zero_()
    assert paths.weights(zoo).read_bytes() == before
    assert ZooDataset(zoo).weights.any()


def test_bad_input_is_one_clear_error(zoo: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere", tmp_path, zoo / "README.md"):
        with pytest.raises(ZooError, match="is no zoo"):
            ZooDataset(path)
    epochs: Any
    for epochs in (-5, 4, [0, 4], [], [-5], slice(4, None)):
        with pytest.raises(ZooError, match="has the epochs 0 to 3"):
            ZooDataset(zoo, epochs=epochs)
    for epochs in ("1", 1.5, [None], True, [True], slice("a", None)):
        with pytest.raises(ZooError, match="give a whole number or several"):
            ZooDataset(zoo, epochs=epochs)
    with pytest.raises(ZooError, match="unknown split 'validation': choose from train, val, test"):
        ZooDataset(zoo, split="validation")
    options: dict[str, Any]
    for options, error in (
        ({"splits": ["train", "test"]}, "give each a name and a fraction"),
        ({"splits": {"a": 1}, "seed": "x"}, "seed='x': give a whole number"),
        ({"max_weight": math.nan}, "max_weight=nan: give a number above 0"),
        ({"max_weight": -1}, "max_weight=-1: give a number above 0"),
        ({"where": 1}, "where=1: give a condition as text"),
        ({"window": True}, "window=True: give the number"),
        ({"epochs": slice(0, 2, 0)}, "a slice's step can't be 0"),
        ({"transform": 1}, "transform=1: give a callable"),
    ):
        with pytest.raises(ZooError, match=error):
            ZooDataset(zoo, **options)
    for model in (8, -1, "node"):
        with pytest.raises(ZooError, match="has no model"):
            ZooDataset(zoo).state_dict(model, 0)
    for epoch in (-5, 4):
        with pytest.raises(ZooError, match=f"has the epochs 0 to 3, but not {epoch}"):
            ZooDataset(zoo).state_dict(0, epoch)


def test_damaged_files_are_one_clear_error(copied: Path) -> None:
    for path in (paths.weights, paths.models, paths.metrics, paths.architecture, paths.config):
        whole = path(copied).read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"\x00"):
            path(copied).write_bytes(damaged)
            with pytest.raises(ZooError, match="damaged"):
                ZooDataset(copied)
        path(copied).write_bytes(whole)
    paths.metrics(copied).unlink()
    with pytest.raises(ZooError, match="metrics.csv is missing"):
        ZooDataset(copied)


def test_importing_the_package_does_not_wait_for_pytorch() -> None:
    subprocess.run([sys.executable, "-c", "import sys, zoo; assert 'torch' not in sys.modules"], check=True)
    with pytest.raises(ImportError):
        from zoo import NoSuchThing  # noqa: F401

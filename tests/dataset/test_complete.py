"""What ZooDataset can do beyond a zoo's states: windows, splits, conditions, networks, zip files, several zoos."""

import functools
import http.server
import pickle
import re
import shutil
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Subset, default_collate
from torchvision.transforms import Compose

from tests.dataset.test_damaged_zoos import make
from zoo import PropertyPrediction, Reconstruction, SequencePrediction, ZooDataset, read_models
from zoo.analyze import make_zoo
from zoo.dataset.splits import seeded_splits
from zoo.dataset.transforms import Align, Erase, Noise, PermutationSpec, Permute, Standardise, Statistics, Tokenise
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.weights import Shards
from zoo.format.zoo_writer import ZooWriter
from zoo.models.cnn import CNNSmall
from zoo.models.known import known_model


def test_seeded_splits() -> None:
    nodes = [f"node{number}" for number in range(100)]
    fractions = {"a": 0.6, "b": 0.3, "c": 0.1}
    splits = seeded_splits(nodes, fractions, seed=1)
    assert {name: (splits == name).sum() for name in fractions} == {"a": 60, "b": 30, "c": 10}
    assert seeded_splits(nodes[::-1], fractions, seed=1).tolist() == splits[::-1].tolist()
    assert seeded_splits(nodes, fractions, seed=2).tolist() != splits.tolist()
    strata = ["x"] * 10 + ["y"] * 90
    stratified = seeded_splits(nodes, fractions, 1, strata)
    assert [(stratified[:10] == name).sum() for name in fractions] == [6, 3, 1]
    for wrong in ({"a": 0.5, "b": 0.4}, {}, {"a": 1.5, "b": -0.5}):
        with pytest.raises(ZooError, match="fraction"):
            seeded_splits(nodes, wrong, 0)


def test_splits_of_a_zoo_are_disjoint_and_stratified(zoo: Path) -> None:
    splits = {"a": 0.5, "b": 0.5}
    parts = [ZooDataset(zoo, split=split, splits=splits, seed=3, stratify="model.dropout") for split in splits]
    assert sorted(id for part in parts for id in part.properties["id"].unique()) == list(range(8))
    for part in parts:
        assert part.properties.drop_duplicates("id")["model.dropout"].tolist() == [0, 0, 0.5, 0.5]
    with pytest.raises(ZooError, match="choose from a, b"):
        ZooDataset(zoo, split="train", splits=splits)


@pytest.mark.parametrize(
    ("asked", "epochs"), [(-1, [3]), ("last", [3]), (slice(None, None, 2), [0, 2]), ([-1, 0], [0, 3])]
)
def test_epochs(zoo: Path, asked: Any, epochs: list[int]) -> None:
    assert ZooDataset(zoo, epochs=asked).properties["epoch"].tolist() == epochs * 8


def test_the_best_epoch(zoo: Path) -> None:
    dataset = ZooDataset(zoo, epochs="best")
    assert dataset.properties["epoch"].tolist() == dataset.models["best_epoch"].tolist()


def test_windows(zoo: Path) -> None:
    dataset, states = ZooDataset(zoo, window=2), ZooDataset(zoo, finite=False)
    assert len(dataset) == 8 * 3 and dataset.weights.shape == (24, 2, 2464)
    weights, properties = dataset[4]
    assert torch.equal(weights, states.weights[5:7]) and torch.equal(weights, dataset.weights[4])
    assert properties["id"] == 1 and properties["epoch"].tolist() == [1, 2]
    assert properties["test_acc"].tolist() == states.properties["test_acc"][5:7].tolist()
    assert dataset.properties.loc[4, "epoch"].tolist() == [1, 2]
    [(batch, table)] = DataLoader(dataset, batch_size=24)
    assert torch.equal(batch, dataset.weights) and table["epoch"].shape == (24, 2)
    with pytest.raises(ZooError, match="only 4 of the epochs"):
        ZooDataset(zoo, window=5)


def test_filters(zoo: Path) -> None:
    assert set(ZooDataset(zoo, where="model.dropout == .5").properties["model.dropout"]) == {0.5}
    assert len(ZooDataset(zoo, status="finished")) == 32 and len(ZooDataset(zoo, status="diverged")) == 0
    whole = ZooDataset(zoo)
    sizes = whole.weights.abs().amax(1)
    bound = sizes.median().item()
    assert torch.equal(ZooDataset(zoo, max_weight=bound).weights, whole.weights[sizes <= bound])


def test_tasks(zoo: Path) -> None:
    dataset = ZooDataset(zoo, epochs=[0, 3], window=2)
    first, last = SequencePrediction(dataset)[1]
    assert torch.equal(first, dataset.weights[1, 0]) and torch.equal(last, dataset.weights[1, 1])
    last_states = ZooDataset(zoo, epochs=-1, transform=torch.neg)
    [(given, target)] = DataLoader(Reconstruction(last_states), batch_size=8)
    assert torch.equal(given, -last_states.weights) and torch.equal(target, given)
    [(_, accuracies)] = DataLoader(PropertyPrediction(last_states, "test_acc"), batch_size=8)
    assert accuracies.tolist() == pytest.approx(last_states.properties["test_acc"].tolist())
    categories = PropertyPrediction(last_states, "model.dropout", categorical=True)
    assert categories.classes == [0, 0.5] and categories.targets.tolist() == [0] * 4 + [1] * 4
    with pytest.raises(ZooError, match="no property 'x'"):
        PropertyPrediction(last_states, "x")


def test_any_property_can_be_predicted(zoo: Path) -> None:
    dataset = ZooDataset(zoo, where="status == 'finished'")
    rows = dataset.models.loc[dataset.properties["id"]]
    for column in (*dataset.properties, "status", "diverged", "last_epoch", "best_epoch"):
        found = PropertyPrediction(dataset, column)
        expected = dataset.properties[column] if column in dataset.properties else rows[column]
        if found.classes is None:
            assert torch.equal(found.targets, torch.tensor(expected.tolist(), dtype=torch.float32)), column
        else:
            assert [found.classes[target] for target in found.targets] == expected.tolist(), column
    assert PropertyPrediction(dataset, "best_epoch", categorical=True).targets.dtype == torch.int64
    assert PropertyPrediction(dataset, "epoch", categorical=True).targets.tolist() == [0, 1, 2, 3] * 8
    assert PropertyPrediction(dataset, "diverged", categorical=True).classes == [False]
    for columns in ("id", "test_acc"):
        with pytest.raises(ZooError, match=f"'{columns}' has no categories"):
            PropertyPrediction(dataset, columns, categorical=True)
    with pytest.raises(ZooError, match="no property to predict: choose from id, node"):
        PropertyPrediction(dataset, [])


def test_layers_are_views(zoo: Path) -> None:
    dataset = ZooDataset(zoo)
    layer = dataset.layer("module_list.3.weight")
    assert (
        layer.shape == (32, 6, 8, 5, 5)
        and layer.untyped_storage().data_ptr() == dataset.weights.untyped_storage().data_ptr()
    )
    assert torch.equal(layer[31], dataset.state_dict(7, 3)["module_list.4.weight"])


def test_networks_and_predictions(zoo: Path) -> None:
    dataset = ZooDataset(zoo, epochs=-1)
    images = dataset.images().testset.images
    outputs = dataset.predict(images, models_at_once=3, images_at_once=4)
    for index in range(8):
        network = dataset.model(index)
        assert not network.training
        with torch.no_grad():
            torch.testing.assert_close(outputs[index], network(images))
        assert torch.equal(dataset.vector(network), dataset.weights[index])
        assert torch.equal(dataset.vector(dataset.network(dataset.weights[0], like=index)), dataset.weights[0])
    assert torch.equal(dataset.predict(images, [5, 1], 3, 4), dataset.predict(images, [5, -7], 3, 4))
    assert torch.equal(dataset.predict(images, dataset.properties["id"] > 6), dataset.predict(images, [7]))
    for wrong, error in (
        (images.expand(-1, 3, -1, -1), r"CNNSmall can't take images \[10, 3, 28, 28\]"),
        (images.long(), "torch.int64"),
        (images.numpy(), "not ndarray"),
    ):
        with pytest.raises(ZooError, match=error):
            dataset.predict(wrong)


def test_a_foreign_class_is_not_called(zoo: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(zoo, tmp_path / "tiny")
    for params in (copied / "models").glob("*/params.json"):
        text = params.read_text().replace("zoo.models.cnn.CNNSmall", "os.system")
        params.unlink()
        params.write_text(text)
    with pytest.raises(ZooError, match=r"tiny/model.py.*trust=True"):
        ZooDataset(copied).model(0)
    network = ZooDataset(copied, trust=True).model(0)
    assert torch.equal(ZooDataset(zoo).vector(network), ZooDataset(zoo, epochs=-1)[0][0])


def test_a_zip_file_is_the_zoo(zoo: Path) -> None:
    whole, packed = ZooDataset(zoo), ZooDataset(zoo.with_name("tiny.zip"))
    assert torch.equal(whole.weights, packed.weights) and torch.equal(whole[7][0], packed[7][0])
    pd.testing.assert_frame_equal(whole.properties, packed.properties)
    assert packed.images().digest == whole.images().digest
    assert torch.equal(packed.vector(packed.model(3, 2)), whole[3 * 4 + 2][0])


@pytest.mark.parametrize("name", ["metrics.csv", "weights.safetensors", "architecture.json"])
def test_a_damaged_zip_file(zoo: Path, tmp_path: Path, name: str) -> None:
    for method in ("missing", "cut", "deflated"):
        damaged = tmp_path / f"{method}.zip"
        with zipfile.ZipFile(zoo.with_name("tiny.zip")) as old, zipfile.ZipFile(damaged, "w") as new:
            for info in old.infolist():
                content, own = old.read(info), info.filename == f"tiny/{name}"
                if own and method == "cut":
                    content = content[: len(content) // 2]
                deflated = own and method == "deflated"
                if not (own and method == "missing"):
                    new.writestr(info.filename, content, zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED)
        if method == "deflated" and name != "weights.safetensors":
            continue
        with pytest.raises(ZooError, match=name):
            ZooDataset(damaged)


def test_several_zoos(zoo: Path, tmp_path: Path) -> None:
    other = shutil.copytree(zoo, tmp_path / "other")
    one, both = ZooDataset(zoo), ZooDataset([zoo, other])
    assert len(both) == 64 and both.properties["zoo"].tolist() == ["tiny"] * 32 + ["other"] * 32
    assert torch.equal(both.weights, one.weights.repeat(2, 1)) and torch.equal(both[63][0], one[31][0])
    assert both.models["id"].tolist() == list(range(16)) and both.factors == one.factors
    assert both.images().digest == one.images().digest
    assert torch.equal(both.vector(both.model(15)), one[31][0])
    assert torch.equal(pickle.loads(pickle.dumps(both)).weights, both.weights)
    with pytest.raises(ZooError, match="give an id"):
        both.model(str(one.models["node"][0]))


def double(weights: torch.Tensor) -> torch.Tensor:
    return 2 * weights


def test_the_table_of_models_of_whatever_opens(zoo: Path, sweep: Path, tmp_path: Path) -> None:
    table = read_models(zoo)
    named = shutil.copytree(zoo, tmp_path / "a b", ignore=lambda *_: {"models"})
    for path in (zoo.with_suffix(".zip"), zoo / "models.csv", named.as_uri(), f"file://localhost{zoo}/models.csv"):
        pd.testing.assert_frame_equal(read_models(path), table)
    assert sorted(read_models(sweep)["node"]) == sorted(table["node"])
    with pytest.raises(ZooError, match="of the machine 'elsewhere'"):
        read_models("file://elsewhere/zoo")
    with pytest.raises(ZooError, match="is no zoo"):
        read_models(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes(zoo: Path, method: str) -> None:
    dataset = ZooDataset(zoo, epochs=iter([1, 2]), where="seed > 0", transform=double)
    loader = DataLoader(dataset, batch_size=5, num_workers=2, multiprocessing_context=method)
    assert torch.equal(torch.cat([weights for weights, _ in loader]), 2 * dataset.weights)


def test_slices_and_repr(zoo: Path) -> None:
    dataset = ZooDataset(zoo, epochs=2)
    assert [properties["id"] for _, properties in dataset[-2:]] == [6, 7]
    assert [properties["id"] for _, properties in dataset[[4, 0]]] == [4, 0]
    assert repr(dataset) == f"ZooDataset({zoo}: 8 samples of 8 models, CNNSmall [2464], epochs=2)"
    windows = ZooDataset(zoo, iter([0, 1, 3]), window=2)
    assert repr(windows) == f"ZooDataset({zoo}: 16 windows of 2 epochs of 8 models, CNNSmall [2464], epochs=[0, 1, 3])"
    for opened in (ZooDataset(zoo), ZooDataset(zoo, -1, where="seed > 0"), windows):
        assert repr(pickle.loads(pickle.dumps(opened))) == repr(opened)


def test_a_remote_table(zoo: Path, tmp_path: Path) -> None:
    shutil.copy(paths.models(zoo), tmp_path)  # nothing else is there
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        for path in (url, f"{url}/models.csv", tmp_path):
            pd.testing.assert_frame_equal(read_models(path), ZooDataset(zoo).models)
        with pytest.raises(ZooError, match="nowhere/models.csv"):
            read_models(f"{url}/nowhere")
        server.shutdown()


def test_the_documented_examples_run(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parents[2] / "docs" / "dataset.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > 5
    monkeypatch.chdir(zoo.parent)
    exec("\n".join(blocks), {})


def one_by_one(batch: Any) -> Any:
    """What PyTorch collates of a batch's samples."""
    return default_collate(list(batch))


def require_equal(found: Any, expected: Any) -> None:
    """Of two batches: types, numbers and texts."""
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        require_equal(list(found.values()), list(expected.values()))
    elif isinstance(expected, str):
        assert found == expected
    else:
        assert type(found) is type(expected) and len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            require_equal(*pair)


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("transform", [None, torch.neg])
def test_a_batch_gathered_at_once_is_that_of_its_samples(zoo: Path, window: int | None, transform: Any) -> None:
    for finite in (True, False):
        dataset = ZooDataset(zoo, finite=finite, window=window, transform=transform)
        for chosen in (dataset, PropertyPrediction(dataset, ["test_acc", "ggap"]), Subset(dataset, [5, 2, 0])):
            gathered = DataLoader(chosen, batch_size=7)
            require_equal(list(gathered), list(DataLoader(chosen, batch_size=7, collate_fn=one_by_one)))


def test_a_batch_is_no_view_of_the_file(zoo: Path) -> None:
    dataset = ZooDataset(zoo)
    [(weights, _), *_] = DataLoader(dataset, batch_size=8)
    assert weights.untyped_storage().nbytes() == weights.nbytes
    batch = dataset.__getitems__([3, 1])
    assert [properties["epoch"] for _, properties in batch] == [3, 1] and len(batch) == 2
    assert torch.equal(batch[1][0], dataset[1][0]) and len(batch[:1]) == 1


TRANSFORMS: dict[str, Callable[[ZooDataset], Any]] = {
    "Standardise": lambda dataset: Standardise(dataset.architecture).fit(dataset.weights),
    "Tokenise": lambda dataset: Tokenise(dataset.architecture),
    "Statistics": lambda dataset: Statistics(dataset.architecture),
    "Align": lambda dataset: Align(PermutationSpec.of(CNNSmall(1)), dataset.weights[-1]),
    "Align, window": lambda dataset: Align(PermutationSpec.of(CNNSmall(1)), dataset.weights[-1], window=True),
    "Compose": lambda dataset: Compose([TRANSFORMS["Standardise"](dataset), Tokenise(dataset.architecture)]),
}


def require_batches_as_samples(zoo: Path, name: str, window: int | None, **options: Any) -> None:
    transform = TRANSFORMS[name](ZooDataset(zoo))
    dataset = ZooDataset(zoo, transform=transform, window=window)
    loader = DataLoader(dataset, batch_size=5, **options)
    for number, (found, _) in enumerate(loader):
        expected = default_collate(
            [dataset[index][0] for index in range(5 * number, min(5 * number + 5, len(dataset)))]
        )
        parts = zip(found, expected, strict=True) if isinstance(expected, tuple) else [(found, expected)]
        for pair in parts:
            torch.testing.assert_close(*pair, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_of_a_batch_is_that_of_each_sample(zoo: Path, name: str) -> None:
    require_batches_as_samples(zoo, name, 2 if "window" in name else None)


@pytest.mark.parametrize(
    "method", [pytest.param("fork", marks=pytest.mark.slow), pytest.param("spawn", marks=pytest.mark.slow)]
)
def test_batches_are_transformed_in_processes(zoo: Path, method: str) -> None:
    require_batches_as_samples(zoo, "Compose", 2, num_workers=2, multiprocessing_context=method)


def test_random_transforms_of_a_batch_differ_by_sample(zoo: Path) -> None:
    network = CNNSmall(1)
    for transform in (
        Permute(PermutationSpec.of(network), seed=0),
        Noise(Architecture.of(network), 0.1, seed=0),
        Erase(Architecture.of(network), 0.5, seed=0),
    ):
        dataset = Subset(ZooDataset(zoo, transform=transform), [9] * 4)
        [(weights, _)] = DataLoader(dataset, batch_size=4)
        assert len(weights.unique(dim=0)) == 4


@pytest.mark.parametrize(
    "target",
    ["zoo.models.cnn.CNNSmall", "torch.nn.Linear", "torch.nn.modules.linear.Linear", "torchvision.models.vgg11"],
)
def test_known_classes(target: str) -> None:
    assert known_model(target)


@pytest.mark.parametrize(
    "target",
    ["torch.nn.init.normal_", "torch.nn.functional.relu", "torch.nn.Parameter", "torch.nn.modules.conv.Linear"],
)
def test_other_names_are_not_known(target: str) -> None:
    assert known_model(target) is None


class FewModels:
    """A source of made-up models: what `predict` and networks need of one."""

    def __init__(self, choices: Sequence[dict[str, Any]], networks: Sequence[torch.nn.Module]):
        self.path, self.choices, self.factors = Path("few"), choices, ["model.activation"]
        self.architecture = Architecture.of(networks[0])
        states = [self.architecture.flatten(network.state_dict(), 0) for network in networks]
        self.weights = Shards([torch.stack(states)[:, None].detach()])
        records = [[dict.fromkeys(tables.LOSSES_AND_ACCURACIES, 0.5) | {"diverged": False}] for _ in networks]
        self.states = tables.states(records)
        params = [{"node": f"n{number}", "model.activation": str(choice)} for number, choice in enumerate(choices)]
        self.models = tables.models(params, [0] * len(networks), self.factors, self.states, 0)

    def params(self, model: int) -> dict[str, Any]:
        return {"config": {"model": self.choices[model]}}


def dataset_of(monkeypatch: pytest.MonkeyPatch, choices: Sequence[dict[str, Any]]) -> ZooDataset:
    torch.manual_seed(0)
    builders = [known_model(choice["_target_"]) for choice in choices]
    networks = [
        build(**{key: value for key, value in choice.items() if key != "_target_"})
        for build, choice in zip(builders, choices, strict=True)
        if build
    ]
    monkeypatch.setattr("zoo.dataset.dataset.open_source", lambda path: FewModels(choices, networks))
    return ZooDataset("few")


def require_predictions(dataset: ZooDataset, images: torch.Tensor) -> None:
    outputs = dataset.predict(images, models_at_once=2, images_at_once=2)
    for index in range(len(dataset)):
        with torch.no_grad():
            torch.testing.assert_close(outputs[index], dataset.model(index)(images), rtol=1e-4, atol=1e-5)


def test_predictions_of_mixed_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["tanh", "relu", "gelu", "tanh", "relu"]
    choices = [{"_target_": "zoo.models.cnn.CNNSmall", "channels_in": 1, "activation": name} for name in names]
    dataset = dataset_of(monkeypatch, choices)
    require_predictions(dataset, torch.rand(3, 1, 28, 28))
    assert torch.equal(dataset.predict(torch.rand(0, 1, 28, 28)), torch.empty(5, 0, 10))


def test_predictions_with_batch_norms(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = [{"_target_": "zoo.models.resnet.ResNet18", "channels_in": 1, "classes": 3}] * 2
    dataset = dataset_of(monkeypatch, choices)
    for name, value in (("running_mean", 0.3), ("running_var", 2.0)):
        for entry in dataset.architecture.tensors:
            if entry.name == name:
                dataset.mapped.states(np.arange(2))[:, entry.start : entry.start + entry.length] = value
    require_predictions(dataset, torch.rand(3, 1, 8, 8))


def test_predictions_of_a_class_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of(monkeypatch, [{"_target_": "torch.nn.Linear", "in_features": 4, "out_features": 2}] * 3)
    require_predictions(dataset, torch.rand(3, 4))


def test_several_zoos_of_other_epochs_and_architectures(tmp_path: Path) -> None:
    first = make(tmp_path / "first", 2**20)
    second = made_of(tmp_path / "second", torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)), 5)
    both = ZooDataset([first, second])
    assert both.mapped.shape == (6, 5, 22) and both.models["variant"].tolist() == [0, 0, 1, 1, 0, 0]
    assert len(both) == len(ZooDataset(first)) + 10 and both.epochs == [0, 1, 2, 3, 4]
    assert torch.equal(both.weights[-10:], ZooDataset(second).weights)
    assert torch.equal(both[len(both) - 1][0], ZooDataset(second)[9][0])
    whole = ZooDataset([first, second], finite=False)
    assert whole.weights[3].isnan().all() and torch.isnan(torch.tensor(whole[3][1]["test_acc"]))
    other = made_of(tmp_path / "other", torch.nn.Linear(2, 3), 3)
    with pytest.raises(ZooError, match=r"other has another architecture than .*first.*open it alone"):
        ZooDataset([first, other])


def made_of(zoo: Path, network: torch.nn.Module, epochs: int) -> Path:
    """Two models of made-up numbers."""
    zoo.mkdir()
    architecture = Architecture.of(network)
    record = dict.fromkeys(tables.LOSSES_AND_ACCURACIES, 0.5) | {"diverged": False}
    with ZooWriter(zoo, architecture, epochs - 1, ["seed"]) as writer:
        for seed in range(2):
            states = torch.rand(epochs, architecture.length, generator=torch.Generator().manual_seed(seed))
            writer.add({"node": f"{zoo.name}{seed}", "seed": seed}, 0, [record] * epochs, states)
    files.write_json(paths.config(zoo), {"search_pattern": {"seed": [0, 1]}, "protocol": {}})
    return zoo


def test_shards_in_random_order(tmp_path: Path) -> None:
    whole = ZooDataset(make(tmp_path / "whole", 2**20))
    sharded = ZooDataset(make(tmp_path / "sharded", 1))
    assert len(sharded.mapped.shards) == 4 and len(whole.mapped.shards) == 1
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).repeat(3).tolist()
    [(expected, _)] = DataLoader(Subset(whole, order), batch_size=len(order))
    [(found, _)] = DataLoader(Subset(sharded, order), batch_size=len(order))
    assert torch.equal(found, expected) and torch.equal(found[0], whole[order[0]][0])


def test_a_compact_zoo_in_a_zip_file(zoo: Path, sweep: Path, tmp_path: Path, without_drawing: None) -> None:
    make_zoo(sweep, tmp_path / "small", files_of_runs="compact")
    assert paths.runs_archive(tmp_path / "small").exists()
    shutil.rmtree(tmp_path / "small")
    packed = ZooDataset(tmp_path / "small.zip")
    assert torch.equal(packed.weights, ZooDataset(zoo).weights)
    assert torch.equal(packed.vector(packed.model(5, 2)), packed[5 * 4 + 2][0])
    assert packed.source.params(0)["node"] == packed.models["node"][0]


def test_a_mask_takes_the_samples_that_it_marks(zoo: Path) -> None:
    dataset = ZooDataset(zoo)
    mask = (dataset.properties["epoch"] == 1).to_numpy()
    assert [properties["epoch"] for _, properties in dataset[mask]] == [1] * 8
    assert dataset[[-1]][0][1] == dataset[len(dataset) - 1][1]

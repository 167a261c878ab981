"""Raw zoos in the layout of 2022, opened as they lie."""

import functools
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.foreign import raw
from zoo import ZooDataset
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.foreign.released import Released, open_released
from zoo.models.cnn import CNNSmall
from zoo.models.resnet import ResNet18


def opened(path: Path) -> Released:
    found = open_released(path)
    assert found is not None
    return found


def flat(state: raw.State) -> torch.Tensor:
    return torch.cat([value.flatten().float() for value in state.values()])


def models_of(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return raw.released(tmp_path / "tune_zoo_mnist")


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent))
    return target


@pytest.mark.parametrize("kind", ["folder", "zip", "without leading zeros", "large"])
def test_states_and_tables_are_those_of_the_files(tmp_path: Path, kind: str) -> None:
    root = raw.released(tmp_path / "raw", padded=kind != "without leading zeros", large=kind == "large")
    source = opened(zipped(root) if kind == "zip" else root)
    length = 10_565 if kind == "large" else 2464
    assert source.weights.shape == (4, 3, length)
    for model, run in enumerate(models_of(root)):
        for epoch in range(3):
            name = f"checkpoint_{epoch}" if kind == "without leading zeros" else f"checkpoint_{epoch:06d}"
            state = torch.load(run / name / "checkpoints")
            assert torch.equal(source.weights.state(model, epoch), flat(state))
            variant = source.models["variant"][model]
            assert source.architecture.variants[variant] == list(state)
    models, states = source.models, source.states
    assert models["node"].tolist() == [run.name for run in models_of(root)]
    assert models["model.dropout"].tolist() == [0, 0.5, 0, 0.5] and models["seed"].tolist() == [0, 1, 2, 3]
    assert set(models["model.activation"]) == {"tanh"} and set(models["optim.lr"]) == {0.0003}
    assert "optim.momentum" not in models  # adam has none
    assert states["test_acc"].tolist() == pytest.approx([0.1, 0.19, 0.28] * 4)
    assert states["ggap"].tolist() == pytest.approx([0, 0.01, 0.02] * 4)
    assert source.factors == ["model.dropout", "seed"]
    target = "zoo.models.cnn.CNNLarge" if kind == "large" else "zoo.models.cnn.CNNSmall"
    assert source.params(1)["config"]["model"]["_target_"] == target
    assert source.params(1)["config"]["model"]["dropout"] == 0.5


def test_models_with_dropout_whose_keys_do_not_count_it(tmp_path: Path) -> None:
    """As `export --to aiml` and WeightCLIP name them, with dropout that is no layer."""
    state = raw.state_of(functools.partial(CNNSmall, 1), 3)
    raw.write_model(tmp_path / "raw" / "a", raw.params(**{"model::dropout": 0.5}), {0: state})
    source = opened(tmp_path / "raw")
    assert source.architecture.model == "CNNSmall" and source.architecture.variants == [list(state)]
    network = ZooDataset(tmp_path / "raw").model("a", 0)
    assert isinstance(network, CNNSmall) and torch.equal(source.weights.state(0, 0), flat(network.state_dict()))


def test_rows_are_read_in_any_order_and_as_often_as_asked(zoo: Path) -> None:
    source = opened(zoo)
    found = source.weights.states(np.array([7, 2, 7]))
    assert torch.equal(found[0], found[2]) and torch.equal(found[1], source.weights.state(0, 2))
    assert torch.equal(found[0], source.weights.state(2, 1))


def test_missing_checkpoints_and_records(zoo: Path) -> None:
    first, second, third, _ = models_of(zoo)
    shutil.rmtree(first / "checkpoint_000001")
    shutil.rmtree(second / "checkpoint_000002")
    lines = (third / "result.json").read_text().splitlines()
    (third / "result.json").write_text("\n".join(lines[:2]) + '\n{"train_loss": 0.1, "trai')
    source = opened(zoo)
    there = list(zip(source.states["id"], source.states["epoch"], strict=True))
    assert there == [(0, 0), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]
    assert source.weights.state(0, 1).isnan().all() and source.weights.state(0, 2).isfinite().all()
    assert np.isnan(source.states["test_acc"][6])  # the torn line
    assert source.models["last_epoch"].tolist() == [2, 1, 2, 2]
    assert source.models["status"].tolist() == ["finished", "unfinished", "finished", "finished"]


def test_missing_validation_and_what_was_never_measured(tmp_path: Path) -> None:
    config = raw.params()
    records = [raw.record(epoch, config) for epoch in range(2)]
    records[0] |= {"train_loss": -999, "train_acc": -999}
    for record in records:
        del record["val_loss"], record["val_acc"]
    states = {epoch: raw.state_of(lambda: CNNSmall(1), epoch) for epoch in range(2)}
    raw.write_model(tmp_path / "raw" / "a", config, states, records=records)
    found = opened(tmp_path / "raw").states
    assert found["val_acc"].isna().all() and found["train_acc"].isna().tolist() == [True, False]
    assert found["test_acc"].tolist() == [0.1, 0.19] and not found["diverged"].any()


def test_losses_that_are_not_finite_are_those_of_diverged_states(tmp_path: Path) -> None:
    config = raw.params()
    records = [raw.record(0, config), raw.record(1, config, train_loss=float("nan"))]
    states = {epoch: raw.state_of(lambda: CNNSmall(1), epoch) for epoch in range(2)}
    raw.write_model(tmp_path / "raw" / "a", config, states, records=records)
    assert opened(tmp_path / "raw").states["diverged"].tolist() == [False, True]


def test_resnet18(tmp_path: Path) -> None:
    config = raw.params("Resnet18", **{"model::nlin": "relu", "optim::optimizer": "sgd"})
    state = raw.state_of(ResNet18, 1)
    raw.write_model(tmp_path / "raw" / "a", config, {0: state})
    source = opened(tmp_path / "raw")
    assert source.architecture.model == "ResNet18" and len(source.architecture.tensors) == 122
    assert torch.equal(source.weights.state(0, 0), flat(state))
    assert source.params(0)["optim.momentum"] == 0.9 and source.params(0)["model"] == "resnet18"


def test_the_sparse_network_of_a_sparsified_twin(tmp_path: Path) -> None:
    state = raw.state_of(lambda: CNNSmall(1), 3)
    config = raw.params("CNN_ARD")
    records = [raw.record(0, config, sparsity_ratio=0.5)]
    raw.write_model(tmp_path / "raw" / "a", config, {0: raw.sparsified(state)}, records=records)
    source = opened(tmp_path / "raw")
    found = source.architecture.unflatten(source.weights.state(0, 0), 0)
    assert source.architecture.model == "CNNSmall" and found.keys() == state.keys()
    weight, known = found["module_list.0.weight"], state["module_list.0.weight"]
    assert 0.3 < (weight == 0).float().mean() < 0.7 and torch.equal(weight[weight != 0], known[weight != 0])
    assert not found["module_list.0.bias"].any()  # its log alpha is above 3
    assert torch.equal(found["module_list.9.bias"], state["module_list.9.bias"])  # linear layers keep theirs
    assert source.states["sparsity_ratio"].tolist() == [0.5] and source.checkpoint(0, 0) is None


def test_an_architecture_that_is_not_known_is_read_by_its_tensors(tmp_path: Path) -> None:
    state = {"net.0.weight": torch.rand(3, 4), "net.0.bias": torch.rand(3), "scale": torch.rand(1)}
    raw.write_model(tmp_path / "raw" / "a", raw.params("MLP"), {0: state})
    source = opened(tmp_path / "raw")
    assert source.architecture.model == "MLP" and source.architecture.layers == ["Linear", "Module"]
    assert source.params(0)["config"] == {} and source.choice is None
    assert torch.equal(source.weights.state(0, 0), flat(state))


def test_models_of_other_tensors_than_most_are_named(zoo: Path) -> None:
    raw.write_model(zoo / "other", raw.params("CNN3"), {0: {"module_list.0.weight": torch.rand(2, 2)}})
    source = opened(zoo)
    assert source.missing.keys() == {"other"} and len(source.nodes) == 4


def test_images_are_read_as_tensors(zoo: Path) -> None:
    images = opened(zoo).images()
    assert images.trainset.images.shape == (20, 1, 28, 28) and images.split_seed == 42
    assert len(images.valset) == len(images.testset) == 10 and len(images.classes) == 10


def test_a_zoo_without_images_says_so(zoo: Path) -> None:
    paths.images(zoo).unlink()
    with pytest.raises(ZooError, match="has no images that can be read"):
        opened(zoo).images()


def test_a_sweep_of_this_project_has_the_layout_too(sweep: Path) -> None:
    source = opened(sweep)
    assert source.weights.shape == (8, 4, 2464) and len(source.architecture.variants) == 2
    assert source.factors == list(json.loads(paths.config(sweep).read_text())["search_pattern"])
    node = source.nodes[3]
    state = torch.load(paths.checkpoint(sweep / node, 2))
    assert torch.equal(source.weights.state(3, 2), flat(state))
    assert source.params(3) == json.loads(paths.params(sweep / node).read_text())


def test_it_goes_to_other_processes(zoo: Path) -> None:
    source = opened(zoo)
    copied = pickle.loads(pickle.dumps(source))
    assert torch.equal(copied.weights.state(1, 1), source.weights.state(1, 1))


def test_what_is_no_raw_zoo_is_none(tmp_path: Path) -> None:
    assert open_released(tmp_path) is None and open_released(tmp_path / "nothing") is None
    (tmp_path / "file").write_text("text")
    assert open_released(tmp_path / "file") is None

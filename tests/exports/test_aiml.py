"""Contract A: the 2022 folder, as WeightCLIP and SANE read it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.exports.fabricated import fabricate
from tests.foreign import raw
from zoo import ZooDataset
from zoo.curation.conversion import convert
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.exports import canonical
from zoo.exports.export import export as exported
from zoo.format.architecture import Architecture
from zoo.models.cnn import CNNLarge, CNNSmall, activation_layer
from zoo.models.resnet import ResNet18

Export = Callable[..., Path]
EPOCHS = 3  # of the fixture `zoo`


class FunctionalCNN(nn.Module):
    """CNN-s with dropout that is no layer, as WeightCLIP has it."""

    def __init__(self, params: dict[str, Any]):
        super().__init__()
        activation = params["model::nlin"]
        self.dropout = params["model::dropout"]
        self.module_list = nn.ModuleList(
            [
                *(nn.Conv2d(params["model::channels_in"], 8, 5), nn.MaxPool2d(2, 2), activation_layer(activation)),
                *(nn.Conv2d(8, 6, 5), nn.MaxPool2d(2, 2), activation_layer(activation)),
                *(nn.Conv2d(6, 4, 2), activation_layer(activation), nn.Flatten()),
                *(nn.Linear(36, 20), activation_layer(activation), nn.Linear(20, params["model::o_dim"])),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.module_list):
            x = layer(x)
            if number in (2, 5, 10):
                x = F.dropout(x, self.dropout, self.training)
        return x


def models_of(root: Path) -> list[Path]:
    """Every folder at the root is a model to those who read it."""
    return sorted(path for path in root.iterdir() if path.is_dir())


def test_every_model_loads_with_the_keys_of_no_dropout(export: Export, zoo: Path) -> None:
    out = export(zoo, "aiml")
    dataset = ZooDataset(zoo)
    images = dataset.images().testset.images
    for run in models_of(out):
        params = json.loads((run / "params.json").read_text())
        for epoch in range(EPOCHS + 1):
            model = FunctionalCNN(params)
            model.load_state_dict(torch.load(run / f"checkpoint_{epoch:06d}" / "checkpoints"))
            own = CNNSmall(1, dropout=params["model.dropout"])
            own.load_state_dict(dataset.state_dict(run.name, epoch))
            assert torch.equal(model.eval()(images), own.eval()(images))
    assert len(models_of(out)) == 8


def test_the_root_holds_models_and_their_folders_hold_checkpoints_alone(export: Export, zoo: Path) -> None:
    out = export(zoo, "aiml", "--epochs", "1,3")
    assert sorted(path.name for path in out.iterdir() if path.is_file()) == ["config.json", "dataset.pt", "export.json"]
    for run in models_of(out):
        assert sorted(path.name for path in run.iterdir() if path.is_dir()) == [
            "checkpoint_000001",
            "checkpoint_000003",
        ]


def test_records_are_by_line_and_properties_are_there(export: Export, zoo: Path) -> None:
    for run in models_of(export(zoo, "aiml")):
        lines = [json.loads(line) for line in (run / "result.json").read_text().splitlines()]
        assert [line["training_iteration"] for line in lines] == list(range(EPOCHS + 1))
        params = json.loads((run / "params.json").read_text())
        keys = {
            "model::type",
            "model::channels_in",
            "model::o_dim",
            "model::nlin",
            "model::dropout",
            "model::init_type",
        }
        assert keys <= params.keys() and params["model::type"] == "CNN"
        for line in lines:
            assert {"test_acc", "train_acc"} <= line.keys() and line["config"]["model::type"] == "CNN"


def test_progress_is_the_record_as_a_table(export: Export, zoo: Path) -> None:
    out = export(zoo, "aiml", "--epochs", "last")
    own = ZooDataset(zoo).properties.set_index("node")
    for run in models_of(out):
        table = pd.read_csv(run / "progress.csv")
        assert table["training_iteration"].tolist() == list(range(EPOCHS + 1))
        assert np.allclose(table["val_acc"], own.loc[run.name, "val_acc"], rtol=1e-12)


def test_images_are_pairs(export: Export, zoo: Path) -> None:
    pairs = torch.load(export(zoo, "aiml") / "dataset.pt", weights_only=True)
    images = ZooDataset(zoo).images()
    for name in ("trainset", "valset", "testset"):
        split = getattr(images, name)
        assert len(pairs[name]) == len(split)
        for (image, label), own, number in zip(pairs[name], split.images, split.labels, strict=True):
            assert torch.equal(image, own) and label == number and type(label) is int
    assert pairs["trainset"] and torch.utils.data.DataLoader(pairs["trainset"], batch_size=4)


def test_as_trained_is_the_zoo_s_own_bytes(export: Export, zoo: Path) -> None:
    out = export(zoo, "aiml", "--as-trained")
    for run in paths.runs(zoo).iterdir():
        for path in (path for path in run.rglob("*") if path.is_file()):
            assert (out / path.relative_to(paths.runs(zoo))).read_bytes() == path.read_bytes()
    with pytest.raises(RuntimeError, match="Missing key"):  # half of the models, as in the released zoos
        for run in models_of(out):
            params = json.loads((run / "params.json").read_text())
            FunctionalCNN(params).load_state_dict(torch.load(run / "checkpoint_000000" / "checkpoints"))


def test_a_compact_zoo_is_exported_to_the_same_bytes(export: Export, zoo: Path, compact: Path) -> None:
    for options in ([], ["--as-trained"]):
        there, here = (
            {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
            for out in (export(zoo, "aiml", *options), export(compact, "aiml", *options))
        )
        assert here.keys() == there.keys() and len(here) > 8 * (EPOCHS + 1)
        assert {str(path) for path in here if here[path] != there[path]} <= {"export.json"}


def test_states_that_need_no_other_keys_are_the_zoo_s_own_bytes(export: Export, zoo: Path) -> None:
    out = export(zoo, "aiml")
    dropout = ZooDataset(zoo).models.set_index("node")["model.dropout"]
    for run in models_of(out):
        own = paths.runs(zoo) / run.name
        for epoch in range(EPOCHS + 1):
            same = paths.checkpoint(run, epoch).read_bytes() == paths.checkpoint(own, epoch).read_bytes()
            assert same == (dropout[run.name] == 0)
        assert paths.optimizer(run, EPOCHS).read_bytes() == paths.optimizer(own, EPOCHS).read_bytes()


def test_released_names_are_found_as_there(export: Export, zoo: Path) -> None:
    out = export(zoo, "aiml", "--released-names", "--epochs", "last")
    found = sorted(out.glob("NN_tune_trainable_seed=*/checkpoint_*/checkpoints"))
    seeds = [path.parts[-3].removeprefix("NN_tune_trainable_seed=").partition("_")[0] for path in found]
    assert seeds == ["0", "0", "1", "1", "2", "2", "3", "3"]
    hashes = [run.name[-10:] for run in models_of(out)]  # which SANE takes for the trial's
    assert len(set(hashes)) == 8 and all(int(text, 16) >= 0 for text in hashes)


def test_diverged_and_unfinished_models_are_there_as_far_as_they_came(export: Export, gappy: Path) -> None:
    out = export(gappy, "aiml")
    nodes = ZooDataset(gappy).models["node"]
    assert len(list((out / nodes[0]).glob("checkpoint_*"))) == 2
    assert len(list((out / nodes[5]).glob("checkpoint_*"))) == 3
    assert not all(
        v.isfinite().all() for v in torch.load(out / nodes[5] / "checkpoint_000002" / "checkpoints").values()
    )


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        (lambda rate: CNNSmall(1, dropout=rate), [0, 3, 6, 9, 11]),
        (lambda rate: CNNSmall(3, classes=100, dropout=rate), [0, 3, 6, 9, 11]),
        (lambda rate: CNNLarge(3, dropout=rate), [0, 4, 8, 13, 16]),
    ],
)
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_canonical_keys(model: Callable[[float], nn.Module], numbers: list[int], rate: float) -> None:
    expected = [f"module_list.{number}.{name}" for number in numbers for name in ("weight", "bias")]
    assert canonical.keys(Architecture.of(model(rate)), 0) == expected


def test_other_architectures_keep_their_keys(export: Export, tmp_path: Path) -> None:
    keys = canonical.keys(Architecture.of(ResNet18()), 0)
    assert keys == list(ResNet18().state_dict()) and len(keys) == 122
    model = nn.Sequential(nn.Conv2d(1, 3, 5, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    for run in models_of(export(fabricate(tmp_path / "norms", model, [{"optim.lr": 0.1}] * 2, 1), "aiml")):
        model.load_state_dict(torch.load(run / "checkpoint_000001" / "checkpoints"))


def test_a_checkpoint_that_is_missing_is_named(export: Export, zoo: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(zoo, tmp_path / "copy")
    run = next(path for path in paths.runs(copy).iterdir() if "dropout0_" in path.name)
    paths.checkpoint(run, 2).unlink()
    with pytest.raises(SystemExit, match="checkpoint_000002/checkpoints is missing"):
        export(copy, "aiml")


@pytest.fixture(scope="module")
def whole(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What is exported of the zoo in its folder."""
    out = tmp_path_factory.mktemp("whole") / "aiml"
    exported(zoo, "aiml", out)
    return content_of(out)


def content_of(out: Path) -> dict[str, bytes]:
    files = {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in ("export.json", "config.json")}


@pytest.mark.parametrize("kind", ["zip", "zip of a compact zoo", "sweep"])
def test_zip_files_and_sweeps_are_exported_like_the_zoo(
    zoo: Path, compact: Path, sweep: Path, whole: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    source = {"zip": paths.archive(zoo), "zip of a compact zoo": paths.archive(compact), "sweep": sweep}[kind]
    exported(source, "aiml", tmp_path / "out")
    found = content_of(tmp_path / "out")
    assert found.keys() == whole.keys()
    assert [name for name in found if found[name] != whole[name]] == []


def test_a_raw_zoo_is_exported_with_what_it_has(tmp_path: Path) -> None:
    root = raw.released(tmp_path / "raw", models=2, padded=False)
    paths.images(root).unlink()
    (root / "config.json").unlink()
    exported(root, "aiml", tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["search_pattern"]["seed"] == [0, 1]
    assert not paths.images(tmp_path / "out").exists()
    for run in models_of(root):
        copy = tmp_path / "out" / run.name
        assert paths.params(copy).read_bytes() == paths.params(run).read_bytes()
        assert paths.optimizer(copy, 2).exists() and len(pd.read_csv(copy / "progress.csv")) == 3
        states = [torch.load(path).values() for path in (paths.checkpoint(copy, 1), run / "checkpoint_1/checkpoints")]
        assert all(map(torch.equal, *states))


def test_what_has_no_runs_is_refused(tmp_path: Path) -> None:
    raw.small_cnn(tmp_path / "raw")
    with pytest.raises(ZooError, match="raw has no runs, .*`python -m zoo convert` makes a zoo of it"):
        exported(tmp_path / "raw", "aiml", tmp_path / "out")


@pytest.mark.usefixtures("without_drawing")
def test_a_zoo_without_images_or_files_of_states(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw.small_cnn(tmp_path / "raw")
    convert(tmp_path / "raw", tmp_path / "zoo")
    capsys.readouterr()
    exported(tmp_path / "zoo", "aiml", tmp_path / "out")
    assert "without dataset.pt, the images that some readers" in capsys.readouterr().out
    dataset = ZooDataset(tmp_path / "zoo")
    for node in dataset.models["node"]:
        for epoch in range(5):
            state = torch.load(paths.checkpoint(tmp_path / "out" / node, epoch))
            assert list(state) == dataset.layers and torch.equal(dataset.vector(state), dataset.state(node, epoch))


@pytest.mark.usefixtures("without_drawing")
def test_a_zoo_of_ours_without_images_is_damaged(zoo: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(zoo, tmp_path / "copy")
    paths.images(copy).unlink()
    with pytest.raises(ZooError, match="dataset.pt is missing"):
        exported(copy, "aiml", tmp_path / "out")


def test_epochs_are_named_as_elsewhere(export: Export, zoo: Path) -> None:
    best = ZooDataset(zoo, epochs="best").properties.set_index("node")["epoch"]
    for epochs, expected in (("-1", None), ("best", best), ("0,-2", None)):
        for run in models_of(export(zoo, "aiml", f"--epochs={epochs}")):
            found = [paths.epoch_of(path) for path in paths.checkpoints(run)]
            assert found == ([3] if epochs == "-1" else [0, 2] if epochs == "0,-2" else [expected[run.name]])
    for wrong in ("-5", "4", "--1", "1.0", "first"):
        with pytest.raises(SystemExit, match="give last, best, all, or numbers up to 3"):
            export(zoo, "aiml", f"--epochs={wrong}")

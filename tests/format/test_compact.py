"""Compact zoos: everything that the folders of runs hold, byte by byte, in a few files."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.typed import run_as_elsewhere
from zoo import ZooDataset
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.compact import leave_out
from zoo.format.runs import Runs
from zoo.format.template import Template
from zoo.models.cnn import CNNLarge, CNNSmall
from zoo.models.resnet import ResNet18
from zoo.publication.readme import plain_example

MODELS: dict[str, Callable[[], nn.Module]] = {
    "cnn_small with dropout": lambda: CNNSmall(3, dropout=0.5),
    "cnn_large": lambda: CNNLarge(3),
    "resnet18": lambda: ResNet18(10),
    "perceptron": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.Tanh(), nn.Linear(16, 10)),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_a_template_makes_the_file_that_torch_saves(make: Callable[[], nn.Module]) -> None:
    architecture = Architecture.of(make())
    template = Template.of(bytes(files.torch_bytes(make().state_dict())), architecture, 0)
    assert template is not None
    state = make().state_dict()
    for key, value in state.items():
        if value.dtype == torch.int64:
            state[key] = value + 12345
    next(iter(state.values())).view(-1)[-1] = torch.nan
    assert template.filled(architecture.flatten(state, 0).numpy()) == files.torch_bytes(state)


def test_every_file_of_every_run_comes_back(zoo: Path, compact: Path) -> None:
    assert not paths.runs(compact).exists()
    there, here = Runs(zoo), Runs(compact)
    assert here.nodes() == there.nodes()
    for node in here.nodes():
        records = here.records(node)
        assert records == there.records(node) and len(records) == 4
        for place in (paths.params, paths.result, paths.environment):
            assert here.content(node, place) == there.content(node, place)
        for record in records:
            assert here.checkpoint(node, record) == there.checkpoint(node, record)
            assert here.optimizer(node, record) == there.optimizer(node, record)


def test_only_the_first_checkpoint_is_kept(compact: Path) -> None:
    with zipfile.ZipFile(paths.runs_archive(compact)) as archive:
        kept = [name for name in archive.namelist() if name.endswith("checkpoints")]
    assert len(kept) == 8 and all("checkpoint_000000" in name for name in kept)


def test_it_is_the_same_dataset(zoo: Path, compact: Path) -> None:
    one, other = ZooDataset(zoo), ZooDataset(compact)
    assert torch.equal(one.weights, other.weights)
    assert one.models.equals(other.models) and one.states.equals(other.states)


def test_its_example_runs(compact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads(paths.config(compact).read_text())
    example = plain_example(compact, config["protocol"])
    assert example in paths.readme(compact).read_text()
    run_as_elsewhere(example, compact)
    accuracy, _, recorded = capsys.readouterr().out.split()
    assert float(accuracy) == float(recorded)


def test_a_changed_weight_is_seen(compact: Path, tmp_path: Path) -> None:
    for name in (paths.architecture, paths.models, paths.runs_archive):
        files.link_or_copy(name(compact), name(tmp_path))
    content = bytearray(paths.weights(compact).read_bytes())
    content[256 + 4 * ZooDataset(compact).architecture.length] ^= 1  # the first model, epoch 1
    paths.weights(tmp_path).write_bytes(content)
    runs = Runs(tmp_path)
    node = ZooDataset(compact).models["node"][0]
    first, second, *_ = runs.records(node)
    assert runs.checkpoint(node, first)
    with pytest.raises(ZooError, match="epoch 1 is not the one in the run's records"):
        runs.checkpoint(node, second)


def test_files_that_no_template_makes_stay(tmp_path: Path) -> None:
    """Saved by another version of PyTorch, say: here with a name in the zip file that torch.save gives to files."""
    model = nn.Linear(2, 1)
    architecture, run = Architecture.of(model), tmp_path / "run"
    states = torch.stack([architecture.flatten(model.state_dict(), 0)] * 3).numpy()
    for epoch in range(3):
        files.write_torch(paths.checkpoint(run, epoch), model.state_dict())
    torch.save(model.state_dict(), paths.checkpoint(run, 2))
    leave_out(run, architecture, 0, states)
    assert [paths.epoch_of(path) for path in paths.checkpoints(run)] == [0, 2]


@pytest.mark.parametrize("content", [b"", b"no zip file"])
def test_a_damaged_archive_is_named(tmp_path: Path, content: bytes) -> None:
    paths.runs_archive(tmp_path).write_bytes(content)
    with pytest.raises(ZooError, match=r"runs.zip is damaged"):
        Runs(tmp_path)


@pytest.mark.parametrize("name", ["../x", "/etc", ".."])
def test_names_lead_nowhere_else(compact: Path, name: str) -> None:
    with pytest.raises(ZooError, match="no name of a node"):
        Runs(compact).params(name)

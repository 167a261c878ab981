"""A sweep describes its models before they are trained, and refuses those that could be in no zoo with them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import prepare
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.model_source import model_source
from zoo.models.cnn import CNNSmall
from zoo.node.grid import Grid
from zoo.node.node import Node

NETWORKS = """
import torch
from torch import nn


class Perceptron(nn.Sequential):
    def __init__(self, width: int, classes: int = 10):
        super().__init__(nn.Flatten(), nn.Linear(784, width), nn.Tanh(), nn.Linear(width, classes))


class Deep(nn.Sequential):
    def __init__(self, depth: int):
        super().__init__(nn.Flatten(), *(nn.Linear(784, 784) for _ in range(depth)), nn.Linear(784, 10))


class Last(Perceptron):
    pass


class Given(nn.Sequential):
    def __init__(self, last):
        super().__init__(nn.Flatten(), nn.Linear(784, 10), last)


class Double(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(784, 10, dtype=torch.float64))
"""


@pytest.fixture
def nodes(grid: Callable[..., Grid], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Node]]:
    """`nodes(*overrides)`: the nodes of a grid in tmp_path, where networks.py is."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/networks.py").write_text(NETWORKS)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "networks", raising=False)
    here = (f"sweeps={tmp_path}/sweeps", f"data.cache={tmp_path}/cache", "zoo.name=tiny")
    return lambda *overrides: list(grid(*here, *overrides))


def own(target: str, **arguments: object) -> list[str]:
    values = "".join(f", {key}: {value}" for key, value in arguments.items())
    return ["~model", f"+model={{name: net, image_size: 28, _target_: networks.{target}{values}}}"]


def test_both_files_are_there_before_training(nodes: Callable[..., list[Node]]) -> None:
    sweep = prepare(nodes("model.dropout=0,0.5", "model.activation=tanh,gelu"))[0].sweep
    architecture = Architecture.of(CNNSmall(1))
    architecture.include(CNNSmall(1, dropout=0.5))
    assert Architecture.load(paths.architecture(sweep)) == architecture
    assert paths.model_source(sweep).read_text() == model_source("zoo.models.cnn.CNNSmall")


def test_a_grown_sweep_has_the_variants_of_both_commands(nodes: Callable[..., list[Node]]) -> None:
    sweep = prepare(nodes("model.dropout=0.5"))[0].sweep
    before = Architecture.load(paths.architecture(sweep))
    prepare(nodes("model.dropout=0"))
    after = Architecture.load(paths.architecture(sweep))
    assert len(before.variants) == 1 and after.variants[:1] == before.variants
    assert after.variants[1] == list(CNNSmall(1).state_dict())
    prepare(nodes("model.dropout=0.5"))
    assert Architecture.load(paths.architecture(sweep)) == after


@pytest.mark.parametrize("file", [paths.architecture, paths.model_source])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"def bui"])
def test_what_a_power_cut_left_is_made_anew(
    nodes: Callable[..., list[Node]], file: Callable[[Path], Path], content: bytes
) -> None:
    sweep = prepare(nodes())[0].sweep
    whole = file(sweep).read_bytes()
    file(sweep).write_bytes(content)
    prepare(nodes())
    assert file(sweep).read_bytes() == whole


def test_what_trained_the_models_stays_their_source(nodes: Callable[..., list[Node]]) -> None:
    """Such as a file of the project itself, of which another version comes: its models are the same."""
    sweep = prepare(nodes("seed=0"))[0].sweep
    older = "# as it was once\n" + paths.model_source(sweep).read_text()
    paths.model_source(sweep).write_text(older)
    prepare(nodes("seed=1"))
    assert paths.model_source(sweep).read_text() == older


def test_no_temporary_file_stays(nodes: Callable[..., list[Node]]) -> None:
    sweep = prepare(nodes())[0].sweep
    (sweep / ".model.py.0123abcd.tmp").write_text("half")
    prepare(nodes())
    assert not list(sweep.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [*own("Perceptron", width=8), "model.width=8,16"],
            r"a model of model.width=16 can't be in one zoo with one of model.width=8: its 1.weight has the shape "
            r"\[16, 784\], not \[8, 784\]. A zoo has one architecture: choose another zoo.name",
        ),
        ([*own("Deep", depth=1), "model.depth=1,2"], "model.depth=2 .*: it has 6 tensors, not 4"),
        (
            [*own("Perceptron", width=8), "model._target_=networks.Perceptron,networks.Last"],
            "of one class, but these are of networks.Perceptron and networks.Last: choose another zoo.name",
        ),
        (own("Double"), "1.weight is trained as torch.float64"),
        (own("Given", last="{_target_: torch.nn.ReLU}"), "model.last is no plain value"),
        (own("Perceptron", _args_="[8]"), "model._args_ is no plain value"),
    ],
)
def test_refused_before_anything_is_written(
    nodes: Callable[..., list[Node]], tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ZooError, match=message):
        prepare(nodes(*overrides))
    assert not (tmp_path / "sweeps").exists()


@pytest.mark.parametrize(
    ("added", "message"),
    [("import numpy", "imports numpy, but a zoo's model.py"), ("def build(): ...", "defines `build`")],
)
def test_code_that_cannot_stand_alone_is_refused_before_training(
    nodes: Callable[..., list[Node]], tmp_path: Path, added: str, message: str
) -> None:
    with (tmp_path / "code/networks.py").open("a") as file:
        file.write(added)
    with pytest.raises(ZooError, match=message):
        prepare(nodes(*own("Perceptron", width=8)))
    assert not (tmp_path / "sweeps").exists()


def test_another_shape_does_not_join(nodes: Callable[..., list[Node]]) -> None:
    sweep = prepare(nodes(*own("Perceptron", width=8)))[0].sweep
    before = {path: path.read_bytes() for path in sweep.iterdir() if path.is_file()}
    with pytest.raises(ZooError, match=r"can't join those in .*tiny: its 1.weight has .*\[16, 784\].*another zoo.name"):
        prepare(nodes(*own("Perceptron", width=16)))
    assert {path: path.read_bytes() for path in sweep.iterdir() if path.is_file()} == before


def test_many_models_are_built_once_each(nodes: Callable[..., list[Node]], monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    original = Architecture.of

    def counted(model: torch.nn.Module) -> Architecture:
        built.append(model)
        return original(model)

    monkeypatch.setattr(Architecture, "of", counted)
    prepare(nodes("seed=range(0,50)", "model.dropout=0,0.5"))
    assert len(built) == 2 and all(value.is_meta for value in built[0].parameters())

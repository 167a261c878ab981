"""Sweeps without a description of their models: nothing but the constructor of an nn.Module class is ever called."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import train_sweep
from tests.test_version_0_1_0 import OLD
from zoo.analyze import make_zoo
from zoo.collation.old_sweeps import describe
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.model_source import is_model_source
from zoo.sweep.drop import drop

pytestmark = pytest.mark.usefixtures("without_drawing")

NETWORK = """
from pathlib import Path
from torch import nn

Path(__file__).with_name("imported").touch()


class Net(nn.Sequential):
    def __init__(self, width: int, given=None):
        super().__init__(nn.Flatten(), nn.Linear(4, width))
        Path(__file__).with_name("given").write_text(repr(given))


class NoModule:
    def __init__(self, **given):
        Path(__file__).with_name("called").touch()


def make(**given):
    Path(__file__).with_name("called").touch()


Other = Net
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the sweep of version 0.1.0."""
    return shutil.copytree(OLD / "sweeps/tiny", tmp_path / "sweeps/tiny")


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PYTHONPATH with networks.py."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "networks.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "networks", raising=False)
    return folder


def name_model(sweep: Path, **model: Any) -> None:
    """Let every run name another model."""
    for path in sweep.glob("*/params.json"):
        params = json.loads(path.read_text())
        params["config"]["model"] = {"name": "net", "image_size": 28, **model}
        path.write_text(json.dumps(params))


def node(**model: Any) -> dict[str, Any]:
    return {"node": "net_0123456789", "config": {"model": {"name": "net", "image_size": 28, **model}}}


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("subprocess.getoutput", {"cmd": "touch MARK"}),
        ("timeit.timeit", {"stmt": "open('MARK', 'w')", "number": 1}),
        ("os.system", {"command": "touch MARK"}),
        ("subprocess.Popen", {"args": ["touch", "MARK"]}),
        ("builtins.exec", {}),
        ("antigravity.Net", {}),
        ("torch.load", {"f": "MARK"}),
        ("zoo.models.cnn.activation_layer", {"name": "MARK"}),
        ("pathlib.Path.touch", {"self": "MARK"}),
        ("no_such_module.Net", {}),
        ("Net", {}),
        ("", {}),
        (None, {}),
        (3, {}),
    ],
)
def test_what_is_no_module_is_never_called(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Any, arguments: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    name_model(old, _target_=target, **arguments)
    with pytest.raises(ZooError, match="which is no nn.Module class") as caught:
        make_zoo(old, tmp_path / "zoo")
    assert str(target) in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweeps"]
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("name", ["NoModule", "make", "Other", "Missing"])
def test_a_user_s_file_has_to_define_such_a_class(tmp_path: Path, code: Path, name: str) -> None:
    with pytest.raises(ZooError, match=f"networks.{name} as their model, which is no nn.Module class"):
        describe(tmp_path / "sweeps/tiny", [node(_target_=f"networks.{name}", width=3)])
    assert not (code / "called").exists()
    assert (code / "imported").exists() == (name == "NoModule")  # the only one that the text alone doesn't rule out


def test_a_user_s_class_is_built_from_plain_values(tmp_path: Path, code: Path) -> None:
    nested = {"_target_": "os.system", "command": f"touch {tmp_path}/MARK"}
    architecture, source = describe(tmp_path / "sweeps/tiny", [node(_target_="networks.Net", width=3, given=nested)])
    assert (code / "given").read_text() == repr(nested) and not (tmp_path / "MARK").exists()
    assert [entry.shape for entry in architecture.tensors] == [[3, 4], [3]] and architecture.model == "Net"
    assert source.startswith(NETWORK) and is_model_source(source)


@pytest.mark.parametrize("package", [True, False])
@pytest.mark.parametrize("place", ["tiny", "lib"])
def test_code_that_came_with_the_sweep_is_never_imported(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, package: bool
) -> None:
    """Where `sweeps` lies in a folder on PYTHONPATH, its folders can be imported."""
    folder = tmp_path / "sweeps" / place / "inner"
    folder.mkdir(parents=True)
    (folder / "networks.py").write_text(NETWORK)
    for parent in (folder, folder.parent) if package else ():
        (parent / "__init__.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    name_model(old, _target_=f"sweeps.{place}.inner.networks.Net", width=3)
    with pytest.raises(ZooError, match="which is no nn.Module class in a file on PYTHONPATH"):
        make_zoo(old, tmp_path / "zoo")
    assert not list(tmp_path.rglob("imported")) and "sweeps" not in sys.modules


def test_code_in_a_sweep_that_lies_among_code(tmp_path: Path, code: Path) -> None:
    sweep = code / "tiny"
    sweep.mkdir()
    (sweep / "own.py").write_text(NETWORK)
    (code / "linked.py").symlink_to(sweep / "own.py")
    for target in ("tiny.own.Net", "linked.Net"):
        with pytest.raises(ZooError, match="which is no nn.Module class in a file"):
            describe(sweep, [node(_target_=target, width=3)])
    assert not list(tmp_path.rglob("imported"))
    assert describe(sweep, [node(_target_="networks.Net", width=3)])[0].length == 15


def test_several_classes(old: Path, tmp_path: Path) -> None:
    run = next(old.glob("*/params.json"))
    params = json.loads(run.read_text())
    params["config"]["model"]["_target_"] = "zoo.models.cnn.CNNLarge"
    run.write_text(json.dumps(params))
    with pytest.raises(ZooError, match="models of one class, but the sweep has zoo.models.cnn.CNNLarge and zoo"):
        make_zoo(old, tmp_path / "zoo")


def test_a_sweep_of_two_shapes_says_which_nodes_to_drop(old: Path, tmp_path: Path) -> None:
    """As version 0.1.0 trained them. The largest group of one shape stays."""
    odd = sorted(old.glob("*dropout0.5*/params.json"))[0]
    params = json.loads(odd.read_text())
    params["config"]["model"]["classes"] = 7
    odd.write_text(json.dumps(params))
    with pytest.raises(ZooError, match=r"its module_list.14.weight has the shape \[7, 20\], not \[10, 20\]") as caught:
        make_zoo(old, tmp_path / "zoo")
    assert f"Drop the others: `python -m zoo drop {old} {odd.parent.name}`" in str(caught.value)
    drop(old, [odd.parent.name])
    assert make_zoo(old, tmp_path / "zoo")["models"] == 3


def test_continuing_an_old_sweep_describes_it(old: Path, tmp_path: Path) -> None:
    train_sweep(tmp_path, "seed=0,1", "model.dropout=0,0.5", "trainer.max_epochs=2")
    assert len(Architecture.load(paths.architecture(old)).variants) == 2
    assert is_model_source(paths.model_source(old).read_text())


def test_building_takes_no_memory(tmp_path: Path) -> None:
    model = {"_target_": "zoo.models.cnn.CNNSmall", "channels_in": 10**9}
    architecture, _ = describe(tmp_path, [node(**model)])
    assert architecture.tensors[0].shape == [8, 10**9, 5, 5]


def test_a_class_that_can_not_be_built(tmp_path: Path, code: Path) -> None:
    with pytest.raises(ZooError, match="the model of net_0123456789 can't be built from its params.json: .*width"):
        describe(tmp_path / "sweeps/tiny", [node(_target_="networks.Net")])

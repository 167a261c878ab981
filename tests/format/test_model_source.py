import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import ZooError
from zoo.format.model_source import imports, is_model_source, model_source
from zoo.models.resnet import ResNet18

PARAMS = {
    "config": {
        "model": {"name": "resnet18", "image_size": None, "_target_": "zoo.models.resnet.ResNet18", "channels_in": 1}
    }
}


def built(source: str, params: dict[str, Any]) -> torch.nn.Module:
    """What the function `build` of a model.py makes."""
    namespace: dict[str, Any] = {"__name__": "model"}
    exec(source, namespace)
    with torch.device("meta"):
        return namespace["build"](params)


def test_the_file_builds_the_model() -> None:
    source = model_source("zoo.models.resnet.ResNet18")
    assert "zoo" not in {name.partition(".")[0] for name in imports(ast.parse(source))}
    model = built(source, PARAMS)
    assert model.conv1.weight.shape == (64, 1, 3, 3)
    assert list(model.state_dict()) == list(ResNet18(1).state_dict())


def test_a_library_s_own_class_is_imported_from_it() -> None:
    source = model_source("torchvision.models.resnet18")
    assert source.startswith("from torchvision.models.resnet import resnet18\n") and is_model_source(source)
    model = built(source, {"config": {"model": {"name": "plain", "num_classes": 7}}})
    assert model.fc.weight.shape == (7, 512)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`write(source)`: a file networks.py, to be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "networks", raising=False)

    def write(source: str) -> None:
        (tmp_path / "networks.py").write_text(source)

    return write


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import numpy\nfrom torch import nn\nclass Net(nn.Module): ...", "imports numpy, but"),
        ("import math, zoo.disk.paths\nclass Net: ...", "imports zoo.disk.paths, but"),
        ("from . import layers\nclass Net: ...", "can't be imported"),
        ("class Net:\n    def __init__(self):\n        from zoo import paths", "imports zoo, but"),
        ("class Net: ...\ndef build(): ...", "defines `build`"),
        ("class Other: ...", "networks.Net can't be imported"),
        ("class Net", "networks.Net can't be imported"),
        ("Net = 3", "networks.Net can't be imported .it is no class"),
        ("def make():\n    class Net: ...\n    return Net\nNet = make()", "is made in a function"),
        ("import functools\nNet = functools.partial(dict)", "has no file of source code"),
    ],
)
def test_what_does_not_do_without_more_than_torch(write: Callable[[str], None], source: str, message: str) -> None:
    write(source)
    with pytest.raises(ZooError, match=message):
        model_source("networks.Net")


def test_a_module_s_missing_import_is_named(write: Callable[[str], None]) -> None:
    write("import no_such_package\nclass Net: ...")
    with pytest.raises(ZooError, match="networks.Net can't be imported .No module named 'no_such_package'"):
        model_source("networks.Net")


@pytest.mark.parametrize("text", ["", "def buil", "class Net: ...", "(" * 1000, "x = '\0'", f"x = {'-' * 100_000}1"])
def test_what_is_no_whole_model_source(text: str) -> None:
    assert not is_model_source(text)

import ast
import sys
from pathlib import Path

import pytest
import torch

from zoo.collation.standalone import builder, imports, standalone
from zoo.errors import ZooError
from zoo.models.resnet import ResNet18

PARAMS = {
    "config": {
        "model": {"name": "resnet18", "image_size": None, "_target_": "zoo.models.resnet.ResNet18", "channels_in": 1}
    }
}


def test_the_file_builds_the_model() -> None:
    target = "zoo.models.resnet.ResNet18"
    source = standalone(target)
    assert "zoo" not in {name.partition(".")[0] for name in imports(ast.parse(source))}
    with torch.device("meta"):
        model = builder(source, target)(PARAMS)
    assert model.conv1.weight.shape == (64, 1, 3, 3)
    assert list(model.state_dict()) == list(ResNet18(1).state_dict())


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
    ],
)
def test_what_does_not_do_without_more_than_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    (tmp_path / "networks.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "networks", raising=False)
    with pytest.raises(ZooError, match=message):
        standalone("networks.Net")

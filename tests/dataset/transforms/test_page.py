"""The examples of docs/transforms.md, as they stand there."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import zoo.dataset.transforms
from tests.conftest import TESTS

PAGE = (TESTS.parent / "docs/transforms.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_examples(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    shutil.copytree(zoo, tmp_path / "zoos/mnist_seed")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in BLOCKS:
        exec(block, names)
    said, inputs, first, *_ = capsys.readouterr().out.splitlines()
    assert f"print(spec)  # {said}" in PAGE
    assert first == "8 True [(0, 0, 1), (1, 0, 1), (2, 1, 1)]" and inputs == "1 False [(0, 1, 1)]"
    assert names["tokens"].shape[1:] == (48, 201) and not names["views"].equal(names["train"].weights)
    assert names["kept"](names["test"].weights).equal(names["standardise"](names["test"].weights))


def test_the_page_has_every_transform() -> None:
    for name in set(zoo.dataset.transforms.__all__) - {"Axis", "Group", "Tokens"}:
        assert f"{name}(" in "".join(BLOCKS) or f"{name}." in "".join(BLOCKS), name

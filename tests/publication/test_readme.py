"""A zoo's README and citation, whatever its names are."""

import ast
import html
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml

from tests.format.test_escape import NASTY
from zoo.disk import files, paths
from zoo.format.escape import one_line
from zoo.publication import readme as publication


@pytest.fixture
def copied(zoo: Path, tmp_path: Path) -> Path:
    return shutil.copytree(zoo, tmp_path / "tiny")


def document(zoo: Path, summary: dict[str, Any], config: dict[str, Any]) -> str:
    """The README of a zoo whose summary and config are changed."""
    files.write_json(paths.config(zoo), json.loads(paths.config(zoo).read_text()) | config)
    publication.document(zoo, json.loads(paths.summary(zoo).read_text()) | summary)
    return paths.readme(zoo).read_text()


def cells(readme: str, heading: str) -> list[list[str]]:
    """The body of the table below a heading, as it is read."""
    section = readme.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [[html.unescape(re.sub("</?code>|`", "", cell)) for cell in row] for row in rows[2:]]


@pytest.mark.parametrize("text", [text for text in NASTY if text.strip()], ids=ascii)
def test_any_text_is_harmless_in_the_readme_and_the_citation(copied: Path, text: str) -> None:
    protocol = json.loads(paths.config(copied).read_text())["protocol"] | {"data": text, "init": text}
    factors = {text: [text, [text], 3], "seed": [0, 1]}
    named = {"name": text, "unfinished": {text: 1}, "diverged": {text: 2}, "missing": {text: text}}
    readme = document(copied, named, {"protocol": protocol, "search_pattern": factors})
    line = one_line(text)
    assert html.unescape(readme.splitlines()[0]) == f"# {line}"
    if "`" not in text:
        assert cells(readme, "Generating factors") == [[line, f"{line}, {one_line([text])}, 3"], ["seed", "0, 1"]]
        assert ["init", line] in cells(readme, "Protocol")
    outside = re.sub(r"```python\n.*?\n```|(`+).+?\1", "", readme, flags=re.DOTALL)
    assert not re.search(r"<(?!/?code>|https)|javascript:(?!alert)|\]\((?!analysis/|https://(creative|arxiv))", outside)
    first = re.search(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    call = ast.parse(first[1]).body[1]
    assert call.value.args[0].value == line

    cited = yaml.safe_load(paths.citation(copied).read_text())
    assert cited["title"] == f"{line}: a model zoo of 8 models".strip()
    assert cited["authors"] == [{"name": f"The makers of the model zoo {line}"}]
    assert cited["keywords"][-1] == line and len(cited["keywords"]) == 5
    assert cited["cff-version"] == "1.2.0" and cited["references"][0]["authors"][3]["family-names"] == "Giró-i-Nieto"


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_any_text_is_harmless_in_the_terminal(tmp_path: Path, zoo: Path, text: str) -> None:
    summary = json.loads(paths.summary(zoo).read_text()) | {"missing": {text: text}, "unfinished": {text: 1}}
    report = publication.report(zoo, summary)
    assert len(report.splitlines()) == 11 and all(line.isprintable() for line in report.splitlines())
    assert report.encode()


def test_a_setting_that_only_some_models_have_says_whose_it_is(copied: Path) -> None:
    models = pd.read_csv(paths.models(copied))
    models["optim"] = ["adam", "sgd", "rmsprop", "adam"] * 2
    models["optim.momentum"] = [None, 0.9, 0.9, None] * 2
    models["optim.nesterov"] = [None, True, None, None] + [None, False, None, None]
    models.to_csv(paths.models(copied), index=False)
    protocol = json.loads(paths.config(copied).read_text())["protocol"]
    del protocol["optim"]
    factors = {"optim": ["adam", "sgd", "rmsprop"], "optim.nesterov": [True, False]}
    readme = document(copied, {}, {"protocol": protocol | {"optim.momentum": 0.9}, "search_pattern": factors})
    assert ["optim.momentum", "0.9 (of optim=sgd, rmsprop)"] in cells(readme, "Protocol")
    assert ["optim.lr", "0.001"] in cells(readme, "Protocol")
    assert ["optim.nesterov", "True, False (of optim=sgd)"] in cells(readme, "Generating factors")


def test_a_setting_of_all_models_is_everyone_s(copied: Path) -> None:
    models = pd.read_csv(paths.models(copied)).assign(**{"optim": "sgd", "optim.momentum": 0.9})
    models.to_csv(paths.models(copied), index=False)
    protocol = json.loads(paths.config(copied).read_text())["protocol"] | {"optim": "sgd", "optim.momentum": 0.9}
    assert ["optim.momentum", "0.9"] in cells(document(copied, {}, {"protocol": protocol}), "Protocol")


@pytest.mark.parametrize(
    ("counts", "split", "images", "relation"),
    [
        ((40, 10, 10), "test", "test", "="),
        ((50, 10, 0), "val", "validation", "="),
        ((60, 0, 0), "train", "training", "now; while it was trained"),  # the running mean is of other states
    ],
)
def test_the_example_scores_images_that_there_are(
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    counts: Any,
    split: str,
    images: str,
    relation: str,
) -> None:
    """Run as it stands, in a zoo whose other images and accuracies are gone."""
    sizes = dict(zip(("data.train", "data.val", "data.test"), counts, strict=True))
    protocol = json.loads(paths.config(copied).read_text())["protocol"] | sizes
    readme = document(copied, {}, {"protocol": protocol})
    example = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)[1]
    assert f"# the same state as a network, on the {images} images" in example
    data = torch.load(paths.images(copied), weights_only=True)
    torch.save({f"{split}set": data[f"{split}set"]}, paths.images(copied))
    monkeypatch.chdir(copied)
    monkeypatch.syspath_prepend(copied)
    exec(example, {})
    monkeypatch.delitem(sys.modules, "model")
    found, recorded = map(float, capsys.readouterr().out.split(f" {relation} "))
    assert recorded == pd.read_csv(paths.models(copied))[f"{split}_acc"][0]
    assert found == pytest.approx(recorded) if relation == "=" else 0 < found < 1

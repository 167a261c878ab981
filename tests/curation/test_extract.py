"""Some models of a zoo made a zoo of their own."""

import json
from pathlib import Path

import pytest

from tests.curation.test_merge import assert_has
from tests.curation.test_verify import findings
from zoo.curation.extract import extract
from zoo.curation.merge import merge
from zoo.curation.open_zoo import OpenZoo
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import manifest

pytestmark = pytest.mark.usefixtures("without_drawing")


def test_the_models_are_those_for_which_it_is_true(zoo: Path, tmp_path: Path) -> None:
    where = "model.dropout > 0 and seed in [1, 3]"
    extract(zoo, where, tmp_path / "some")
    there = OpenZoo.of(tmp_path / "some")
    assert there.models[["model.dropout", "seed"]].to_numpy().tolist() == [[0.5, 1], [0.5, 3]]
    assert_has(tmp_path / "some", zoo, there.nodes)
    assert findings(tmp_path / "some") == []
    assert paths.archive(tmp_path / "some").exists()
    config = json.loads(paths.config(tmp_path / "some").read_text())
    assert config["models"] == 2 and config["name"] == "some" and config["where"] == where
    assert config["search_pattern"] == {"seed": [1, 3]} and config["protocol"]["model.dropout"] == 0.5
    sums = manifest.sha256_of(paths.checksums(zoo))
    assert config["extracted_from"] == {"name": "tiny", "models": 8, "sha256sums": sums}
    line = f"It has those models of the zoo `tiny` (8 models) for which `{where}` is true."
    assert line in paths.readme(tmp_path / "some").read_text().replace("<code>", "`").replace("</code>", "`").replace(
        "&#91;", "["
    ).replace("&#93;", "]").replace("&gt;", ">").replace("&#62;", ">")


def test_one_model_is_a_zoo_without_factors(zoo: Path, tmp_path: Path) -> None:
    extract(zoo, "id == 3", tmp_path / "one")
    assert findings(tmp_path / "one") == []
    assert json.loads(paths.config(tmp_path / "one").read_text())["search_pattern"] == {}
    extract(tmp_path / "one", "True", tmp_path / "again")
    assert findings(tmp_path / "again") == []
    source = json.loads(paths.config(tmp_path / "again").read_text())["extracted_from"]
    assert source["name"] == "one" and source["where"] == "id == 3" and source["extracted_from"]["name"] == "tiny"


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("seed > 99", "no model of .* is one of which 'seed > 99' is true"),
        ("sed > 1", "sed at position 1 is no column. Did you mean seed"),
        ("seed >", "is no expression"),
        ("__import__('os').remove('x')", "is not taken"),
    ],
)
def test_what_selects_nothing_is_refused(zoo: Path, tmp_path: Path, where: str, said: str) -> None:
    with pytest.raises(ZooError, match=said):
        extract(zoo, where, tmp_path / "some")
    assert list(tmp_path.iterdir()) == []


def test_a_zoo_stays_as_it_is(zoo: Path, tmp_path: Path) -> None:
    for into in (zoo / "some", paths.runs(zoo) / "some"):
        with pytest.raises(ZooError, match="--into=.*some lies in .*, which stays as it is: choose another folder"):
            extract(zoo, "seed == 1", into)
        with pytest.raises(ZooError, match="--into=.*some lies in .*, which stays as it is: choose another folder"):
            merge([zoo, tmp_path], into)
        assert not into.exists()


def test_what_is_there_is_never_replaced(zoo: Path, tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="--into=.* is there"):
        extract(zoo, "seed == 1", zoo)

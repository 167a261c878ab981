"""The runner: each analysis once for the same zoo, options and code; none costs another one, or the zoo."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from zoo import ZooDataset
from zoo.analysis.analysis import Analysis
from zoo.analysis.analyze import analyze
from zoo.analysis.results import Results
from zoo.analyze import analyze_zoo, make_zoo
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import manifest

calls: list[dict[str, Any]] = []


def sizes(dataset: ZooDataset, *, power: int = 1) -> Results:
    calls.append({"power": power})
    norms = dataset.weights.view(8, 4, -1)[:, -1].norm(dim=1).numpy() ** power
    table = pd.DataFrame({"norm": norms}, index=dataset.models["id"])
    return Results(tables={"sizes": table}, numbers={"largest": float(norms.max())}, models=table.iloc[1:])


def fails(dataset: ZooDataset) -> Results:
    raise KeyError("nobody thought of this")


def goes_on(dataset: ZooDataset, *, scratch: Path) -> Results:
    """Done at the third call, which sees what the others left."""
    scratch.mkdir(parents=True, exist_ok=True)
    parts = len(list(scratch.glob("*")))
    (scratch / f"part{parts}").touch()
    if parts < 2:
        raise KeyboardInterrupt
    return Results(numbers={"parts": parts + 1})


def of(function: Any, **options: Any) -> Analysis:
    return Analysis(function.__name__, function, options)


@pytest.fixture
def own(zoo: Path, tmp_path: Path) -> Path:
    calls.clear()
    return shutil.copytree(zoo, tmp_path / "zoos" / "tiny")


def test_results_are_kept(own: Path) -> None:
    assert analyze(own, [of(sizes)], own) == {}
    folder = paths.analysis(own, "sizes")
    record = json.loads(paths.analysis_record(folder).read_text())
    assert record["options"] == {} and record["numbers"]["largest"] > 0 and record["function"].endswith("sizes")
    assert len(pd.read_csv(paths.table(folder, "sizes"))) == 8
    analyze(own, [of(sizes)], own)
    assert len(calls) == 1


def test_other_options_other_weights_and_damage_are_analysed_again(own: Path) -> None:
    analyze(own, [of(sizes)], own)
    analyze(own, [of(sizes, power=2)], own)
    assert [call["power"] for call in calls] == [1, 2]
    weights = bytearray(paths.weights(own).read_bytes())
    weights[-1] ^= 1
    paths.weights(own).write_bytes(weights)
    analyze(own, [of(sizes, power=2)], own)
    assert len(calls) == 3
    paths.analysis_record(paths.analysis(own, "sizes")).write_text("{")
    analyze(own, [of(sizes, power=2)], own)
    assert len(calls) == 4


def test_columns_of_models(own: Path) -> None:
    before = paths.models(own).read_bytes()
    analyze(own, [of(sizes)], own)
    models = ZooDataset(own).models
    assert models["sizes.norm"].isna().tolist() == [True] + [False] * 7
    analyze(own, [of(sizes)], own)
    assert len(calls) == 1, "its own columns do not make it another zoo"
    assert "sizes.norm" in ZooDataset(own).models
    shutil.rmtree(paths.analysis(own, "sizes"))
    analyze(own, [of(sizes, power=2)], own)
    shutil.rmtree(paths.analysis(own, "sizes"))
    cells = pd.read_csv(paths.models(own), dtype=str, keep_default_na=False).drop(columns="sizes.norm")
    assert cells.to_csv(index=False).encode() == before, "the others are as they were, to the byte"


def test_a_zoo_that_is_made_anew_keeps_what_was_found(sweep: Path, tmp_path: Path, without_drawing: None) -> None:
    calls.clear()
    zoo = tmp_path / "tiny"
    assert make_zoo(sweep, zoo, analyses=[of(sizes)])["failed"] == {}
    make_zoo(sweep, zoo)
    assert len(calls) == 1 and paths.analysis_record(paths.analysis(zoo, "sizes")).exists()
    assert "sizes.norm" in ZooDataset(zoo).models
    make_zoo(sweep, zoo, analyses=[of(sizes)])
    assert len(calls) == 1


def test_an_analysis_that_fails_costs_neither_others_nor_the_zoo(own: Path, without_drawing: None) -> None:
    summary = analyze_zoo(own, [of(fails), of(sizes)])
    assert summary["failed"] == {"fails": "'nobody thought of this'"} and len(calls) == 1
    text = paths.analysis_error(own, "fails").read_text()
    assert "Traceback" in text and "nobody thought of this" in text
    assert paths.archive(own).exists()
    assert {"analysis/sizes/analysis.json", "analysis/fails_error.txt"} <= set(manifest.read(own))


def test_an_interrupted_analysis_goes_on(own: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            analyze(own, [of(goes_on)], own)
    assert not paths.analyses(own)
    analyze(own, [of(goes_on)], own)
    record = json.loads(paths.analysis_record(paths.analysis(own, "goes_on")).read_text())
    assert record["numbers"] == {"parts": 3}
    assert [path.name for path in own.parent.iterdir()] == ["tiny"], "nothing is left beside the zoo"


def test_unknown_options_are_refused_before_anything_is_done(own: Path) -> None:
    with pytest.raises(ZooError, match="analysis.sizes.colour: no such option, choose from power"):
        of(sizes, colour="red").require_sound()


def test_what_is_no_zoo_is_not_analysed(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="is no zoo in a folder"):
        analyze_zoo(tmp_path, [])


def test_the_command(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from zoo.analyze import main

    monkeypatch.chdir(tmp_path)
    options = ["analysis.population.cka_images=6", "analysis=[population]"]
    monkeypatch.setattr(sys, "argv", ["analyze.py", "collate=false", f"zoo_dir={own}", *options])
    main()
    assert "8 models, 32 states" in capsys.readouterr().out
    record = json.loads(paths.analysis_record(paths.analysis(own, "population")).read_text())
    assert record["options"]["cka_images"] == 6

"""Table 3, against a loop over scikit-learn's models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import accuracy_score, r2_score

from tests.analysis import synthetic
from zoo import ZooDataset
from zoo.analysis.benchmark import benchmark
from zoo.analysis.benchmark.predictors import PENALTIES
from zoo.analysis.benchmark.samples import Joined, of_states, parted
from zoo.analysis.results import Results
from zoo.dataset.transforms import Statistics
from zoo.errors import ZooError

EPOCHS = [0, 2, 4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.make(tmp_path_factory.mktemp("made") / "a", 60)


@pytest.fixture(scope="module")
def dataset(folder: Path) -> ZooDataset:
    return ZooDataset(folder)


@pytest.fixture(scope="module")
def found(dataset: ZooDataset) -> Results:
    return benchmark.analyze(dataset, epochs=EPOCHS, bootstrap=50)


def inputs(folder: Path, split: str, what: str) -> tuple[np.ndarray, pd.DataFrame]:
    """Of a zoo's own split, by the dataset's own selection."""
    chosen = ZooDataset(folder, epochs=EPOCHS, split=split)
    weights = chosen.weights if what == "w" else Statistics(chosen.architecture)(chosen.weights)
    return weights.double().numpy(), chosen.properties


def one(table: pd.DataFrame, **keys: str) -> pd.Series:
    [[_, row]] = table[np.logical_and.reduce([table[key] == value for key, value in keys.items()])].iterrows()
    return row


@pytest.mark.parametrize("what", ["w", "s(w)"])
@pytest.mark.parametrize("target", ["test_acc", "ggap", "epoch", "optim.lr", "init"])
def test_rows_are_those_of_a_loop(folder: Path, found: Results, target: str, what: str) -> None:
    (x, y), (x_val, y_val), (x_test, y_test) = (inputs(folder, split, what) for split in ("train", "val", "test"))
    kind = RidgeClassifier if target == "init" else Ridge
    plain = [kind(alpha=penalty, solver="cholesky").fit(x, y[target]) for penalty in PENALTIES]
    best = plain[int(np.argmax([model.score(x_val, y_val[target]) for model in plain]))]
    metric = "accuracy" if target == "init" else "r2"
    row = one(found.tables["benchmark"], target=target, features=what, metric=metric)
    assert row["penalty"] == best.alpha and row["model"] == "ridge"
    for part, of_part, true in (("train", x, y), ("val", x_val, y_val), ("test", x_test, y_test)):
        score = (accuracy_score if target == "init" else r2_score)(true[target], best.predict(of_part))
        assert row[part] == pytest.approx(score, rel=1e-3, abs=1e-4)
    assert row["train_models"] * 3 == len(x) and row["test_models"] * 3 == len(x_test) == row["test_states"]
    assert row["low"] <= row["high"]
    if target != "init":
        expected = kendalltau(y_test[target], best.predict(x_test)).statistic
        row = one(found.tables["benchmark"], target=target, features=what, metric="tau")
        assert row["test"] == pytest.approx(expected, abs=0.02)


def test_what_weights_tell_is_found(found: Results) -> None:
    table = found.tables["benchmark"]
    assert one(table, target="test_acc", features="w", metric="r2")["test"] > 0.9
    assert one(table, target="init", features="s(w)", metric="accuracy")["test"] > 0.5
    assert one(table, target="ggap", features="w", metric="r2")["test"] < 0.3
    assert table["target"].unique().tolist() == ["test_acc", "ggap", "epoch", "init", "optim.lr"]
    assert found.tables["skipped"][["target", "reason"]].to_numpy().tolist() == [
        ["seed", "a seed is drawn, no property to be told"]
    ]
    assert list(found.figures) == ["benchmark"]


def test_the_parts_are_the_datasets_own_and_what_leaks_is_counted(folder: Path, found: Results) -> None:
    splits = {split: ZooDataset(folder, epochs=EPOCHS, split=split) for split in ("train", "val", "test")}
    counts = {split: {"models": len(part) // 3, "states": len(part)} for split, part in splits.items()}
    assert found.numbers["parts"] == counts and found.numbers["epochs"] == EPOCHS
    seeds = {split: part.properties["seed"] for split, part in splits.items()}
    known = set(seeds["train"]) | set(seeds["val"])
    shared = splits["test"].properties.loc[seeds["test"].isin(known), "id"].nunique()
    assert found.numbers["leaks"] == {"models_in_two_parts": 0, "equal_states": 0, "models_with_a_known_seed": shared}


def test_exact_splits_are_of_models_and_follow_the_seed(dataset: ZooDataset) -> None:
    parts = parted(dataset, exact=True, seed=1)
    assert pd.Series(parts).value_counts().to_dict() == {"train": 42, "val": 9, "test": 9}
    assert (parts != parted(dataset, exact=True, seed=2)).any()
    result = benchmark.analyze(dataset, epochs=[4], exact_splits=True, seed=1, bootstrap=2)
    row = result.tables["benchmark"].iloc[0]
    assert [row["train_models"], row["val_models"], row["test_models"]] == [42, 9, 9]


def test_a_model_in_two_parts_is_an_error(dataset: ZooDataset) -> None:
    samples = of_states(dataset, [0, 4], parted(dataset, exact=True, seed=0), None)
    Joined.of(samples).leaks(np.arange(len(samples))[:, None])
    moved = samples.parts.copy()
    moved[0] = "test" if moved[0] != "test" else "train"
    with pytest.raises(ZooError, match="is in the part .*, and in another"):
        Joined.of(replace(samples, parts=moved)).leaks(np.arange(len(samples))[:, None])


def test_equal_states_in_two_parts_are_counted(dataset: ZooDataset) -> None:
    joined = Joined.of(of_states(dataset, [0], parted(dataset, exact=True, seed=0), None))
    rows = np.arange(60)[:, None]
    tested = np.flatnonzero(joined.parts == "test")
    rows[tested[0]] = np.flatnonzero(joined.parts == "train")[3]
    rows[tested[2]] = tested[1]  # within a part
    assert joined.leaks(rows)["equal_states"] == 1


def test_constant_targets_are_skipped_with_a_reason(dataset: ZooDataset) -> None:
    result = benchmark.analyze(dataset, epochs=[4], bootstrap=2)
    reasons = result.tables["skipped"].set_index("target")["reason"]
    assert reasons["epoch"] == "constant: 4"


def test_a_zoo_of_too_few_models_is_no_error(tmp_path: Path) -> None:
    result = benchmark.analyze(ZooDataset(synthetic.make(tmp_path / "b", 2)), bootstrap=2, exact_splits=True)
    assert result.tables["benchmark"].empty and not result.figures
    assert "the part val has no models with a value" in result.tables["skipped"]["reason"].tolist()


def test_another_zoo_is_predicted_by_the_same_models(tmp_path: Path, folder: Path, dataset: ZooDataset) -> None:
    other = synthetic.make(tmp_path / "b", 40, seed=7)
    result = benchmark.analyze(dataset, epochs=EPOCHS, test_on=str(other), bootstrap=20)
    own = benchmark.analyze(dataset, epochs=EPOCHS, bootstrap=20)
    pd.testing.assert_frame_equal(result.tables["benchmark"], own.tables["benchmark"], rtol=1e-4)
    (x, y), (x_test, y_test) = inputs(folder, "train", "s(w)"), inputs(other, "test", "s(w)")
    row = one(result.tables["transfer"], target="test_acc", features="s(w)", metric="r2")
    plain = Ridge(alpha=row["penalty"], solver="cholesky").fit(x, y["test_acc"])
    assert row["test"] == pytest.approx(r2_score(y_test["test_acc"], plain.predict(x_test)), rel=1e-3)
    assert row["test_states"] == len(x_test)
    assert set(result.tables["transfer"]["features"]) == {"w", "s(w)"}


def test_of_another_architecture_only_statistics_are_compared(tmp_path: Path, dataset: ZooDataset) -> None:
    other = synthetic.make(tmp_path / "b", 40, width=8)
    result = benchmark.analyze(dataset, epochs=EPOCHS, test_on=str(other), bootstrap=2)
    assert set(result.tables["transfer"]["features"]) == {"s(w)"}
    assert f"the models of {other} have other weights" in result.tables["skipped"]["reason"].tolist()


def test_models_of_the_fitted_zoo_are_not_scored_again(folder: Path, dataset: ZooDataset) -> None:
    result = benchmark.analyze(dataset, epochs=EPOCHS, test_on=str(folder), bootstrap=2)
    assert result.tables["transfer"].empty


def test_the_first_epochs_predict_the_last(folder: Path, dataset: ZooDataset) -> None:
    table = benchmark.analyze(dataset, epochs=[4], from_epochs=[0, 1], bootstrap=2).tables["first_epochs"]
    row = one(table, target="test_acc", features="w", metric="r2")
    x, y = {}, {}
    for split in ("train", "test"):
        chosen = ZooDataset(folder, epochs=[0, 1], split=split)
        x[split] = chosen.weights.double().view(len(chosen) // 2, -1).numpy()
        y[split] = ZooDataset(folder, epochs=-1, split=split).properties["test_acc"]
    plain = Ridge(alpha=row["penalty"], solver="cholesky").fit(x["train"], y["train"])
    assert row["test"] == pytest.approx(r2_score(y["test"], plain.predict(x["test"])), abs=1e-4)
    assert row["test_states"] == row["test_models"] == len(y["test"])
    assert table["target"].unique().tolist() == ["test_acc", "ggap"]


def test_lightgbm_and_standardised_features_are_options(dataset: ZooDataset) -> None:
    try:
        import lightgbm  # noqa: F401
    except (ImportError, OSError):  # the latter where the system has no OpenMP
        pytest.skip("lightgbm can't be imported here")
    result = benchmark.analyze(dataset, epochs=[0, 4], models=["linear", "lightgbm"], standardise=True, bootstrap=2)
    assert set(result.tables["benchmark"]["model"]) == {"ridge", "lightgbm"}


def test_epochs_follow_from_the_length_of_the_training(dataset: ZooDataset) -> None:
    assert benchmark.analyze(dataset, bootstrap=2).numbers["epochs"] == [1, 4]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": [9]}, r"epochs=\[9\]: give some of 0 to 4"),
        ({"classifier": "svm"}, "classifier=svm: choose from ridge, logistic"),
        ({"models": ["svm"]}, "models=svm: choose from linear, lightgbm"),
        ({"penalties": [1, 0]}, "give numbers above 0"),
    ],
)
def test_wrong_options_are_one_line(dataset: ZooDataset, options: dict, message: str) -> None:
    with pytest.raises(ZooError, match=message):
        benchmark.analyze(dataset, **options)

"""How well a model's properties can be told from its weights.

The benchmark of Schürholt et al. 2022, "Model Zoos", Section 5 and Table 3: linear models on w, all weights, and on
s(w), the mean, variance and percentiles of each tensor, predict test accuracy, generalisation gap, epoch, and what a
model was trained with. They are fitted to the train part of the models, their penalty is chosen on the validation part,
and the test part is what counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from zoo.analysis.benchmark import features, scores
from zoo.analysis.benchmark.figure import figure
from zoo.analysis.benchmark.predictors import LIGHTGBM, LINEAR, LOGISTIC, PENALTIES, RIDGE, Linear, Predictor, Trees
from zoo.analysis.benchmark.samples import (
    TEST,
    TRAIN,
    TRANSFER,
    VAL,
    Joined,
    Samples,
    chosen_epochs,
    of_first_epochs,
    of_states,
    parted,
    unknown,
)
from zoo.analysis.results import Results
from zoo.dataset.dataset import ZooDataset
from zoo.errors import ZooError

TRAINING = (0.1, 0.3, 1.0)
"""After which shares of the training, if no epochs are given: 5, 15 and 50 of 50."""

W, S = "w", "s(w)"
WHOLE = 2**32  # bytes of weights, at most, for models that take no others that are as good
R2, TAU, ACCURACY = "r2", "tau", "accuracy"
COLUMNS = [
    *("target", "features", "model", "metric", "train", "val", "test", "low", "high", "penalty"),
    *("train_models", "val_models", "test_models", "test_states"),
]
SCORES: Mapping[str, scores.Score] = {R2: scores.r2, TAU: scores.tau, ACCURACY: scores.accuracy}


@dataclass(frozen=True)
class Options:
    """As `analyze` has them."""

    penalties: Sequence[float]
    classifier: str
    models: Sequence[str]
    standardise: bool
    bootstrap: int
    seed: int

    def require_sound(self) -> None:
        if not self.penalties or not all(isinstance(one, int | float) and one > 0 for one in self.penalties):
            raise ZooError(f"penalties={list(self.penalties)}: give numbers above 0")
        if self.classifier not in (RIDGE, LOGISTIC):
            raise ZooError(f"classifier={self.classifier}: choose from {RIDGE}, {LOGISTIC}")
        if unknown := [model for model in self.models if model not in (LINEAR, LIGHTGBM)]:
            raise ZooError(f"models={unknown[0]}: choose from {LINEAR}, {LIGHTGBM}")


def analyze(
    dataset: ZooDataset,
    *,
    epochs: Sequence[int] | None = None,
    from_epochs: Sequence[int] | None = None,
    test_on: str | None = None,
    penalties: Sequence[float] | None = None,
    classifier: str = RIDGE,
    models: Sequence[str] = (LINEAR,),
    standardise: bool = False,
    exact_splits: bool = False,
    seed: int = 0,
    bootstrap: int = 1000,
    max_weight: float | None = None,
) -> Results:
    """Table 3 of a zoo: a row for each target, what it is predicted from, by which model, and by which metric.

    `epochs`: a sample is a model's state at one of them; if None, those after 10, 30 and 100 % of the training.
    `from_epochs`: a sample of the table `first_epochs` is a model's states at all of these, its targets are accuracy
    and gap of its last. `test_on`: another zoo, of whose test part the table `transfer` tells how well the same models
    predict it. `penalties`: 17 from 1e3 to 1e-5 if None. `classifier`: ridge or logistic. `models`: linear, lightgbm.
    `standardise`: each feature by its mean and deviation in the train part. `exact_splits`: 70, 15 and 15 % of the
    models, drawn by `seed`, not the zoo's own splits, which are nearly so. `bootstrap`: of how many samples of the test
    part's models the 95 % intervals are. `max_weight`: leave out states with a larger |weight|.

    A model whose value is missing is left out for that target. Targets that can't be predicted are in `skipped`.
    """
    options = Options(penalties or PENALTIES, classifier, models, standardise, bootstrap, seed)
    options.require_sound()
    looked_at = chosen_epochs(dataset, epochs, TRAINING)
    parts = parted(dataset, exact_splits, seed)
    own, other = of_states(dataset, looked_at, parts, max_weight), None
    if test_on is not None:
        zoo = ZooDataset(test_on)
        there = chosen_epochs(zoo, epochs, TRAINING)
        other = unknown(of_states(zoo, there, parted(zoo, exact_splits, seed), max_weight), own)
    found = scored(own, other, options)
    tables = {"benchmark": table(found["own"])}
    if test_on is not None:
        tables["transfer"] = table(found["transfer"])
    if from_epochs is not None:
        first = of_first_epochs(dataset, chosen_epochs(dataset, from_epochs, TRAINING), parts, max_weight)
        early = scored(first, None, options)
        tables["first_epochs"] = table(early["own"])
        found["skipped"] += [row | {"target": f"last {row['target']}"} for row in early["skipped"]]
    joined = Joined.of(own)
    numbers = {"epochs": looked_at, "splits": "exact" if exact_splits else "by name", "parts": joined.counts()}
    return Results(
        tables=tables | {"skipped": pd.DataFrame(found["skipped"], columns=["target", "features", "reason"])},
        figures={"benchmark": figure(tables["benchmark"])} if len(tables["benchmark"]) else {},
        numbers=numbers | {"leaks": joined.leaks(features.statistics(own))},
    )


def scored(own: Samples, other: Samples | None, options: Options) -> dict[str, list[dict[str, object]]]:
    """The rows of the tables `own`, `transfer` and `skipped`."""
    found: dict[str, list[dict[str, object]]] = {"own": [], "transfer": [], "skipped": []}
    targets = []
    for target in own.targets:
        if reason := Joined.of(own).why_not(target):
            found["skipped"].append({"target": target, "features": "", "reason": reason})
        else:
            targets.append(target)
    with tqdm(total=2 * len(options.models) * len(targets), desc="predicting", unit="fit") as bar:
        for what, samples in ((S, other), (W, comparable(own, other, found["skipped"]))):
            joined = Joined.of(own, samples)
            for model in options.models if targets else ():
                predictor = made(model, what, joined, options, found["skipped"])
                if predictor is None:
                    continue
                for target in targets:
                    for row in rows(joined, target, predictor, options):
                        found["transfer" if row.pop("transfer") else "own"].append(row | {"features": what})
                    bar.update()
    return found


def comparable(own: Samples, other: Samples | None, skipped: list[dict[str, object]]) -> Samples | None:
    """The other zoo's samples if their weights are of the same kind."""
    if other is None or features.same_weights(own, other):
        return other
    reason = f"the models of {other.dataset.path} have other weights"
    skipped.append({"target": "transfer", "features": W, "reason": reason})
    return None


def made(model: str, what: str, joined: Joined, options: Options, skipped: list[dict[str, object]]) -> Predictor | None:
    """A predictor from w or s(w); None if it would take too much memory."""
    train = joined.marked(TRAIN)
    if what == S:
        found = np.concatenate([features.statistics(group) for group in joined.groups])
        found = features.standardised(found, train) if options.standardise else found
    elif model == LIGHTGBM and (size := 8 * features.width(joined.groups[0]) * len(train)) > WHOLE:
        reason = f"{model} takes all weights into memory: {size / 1e9:.0f} GB"
        skipped.append({"target": "all", "features": what, "reason": reason})
        return None
    else:
        fitted = train if options.standardise else None
        found = features.weights(joined.groups, fitted, whole=model == LIGHTGBM)
    return Trees(found) if model == LIGHTGBM else Linear(found, options.penalties, options.classifier)


def rows(joined: Joined, target: str, predictor: Predictor, options: Options) -> Iterator[dict[str, object]]:
    """A row for each metric, of the zoo itself and, if there is one, of the other zoo: the latter are `transfer`."""
    values = joined.targets[target]
    there = values.notna().to_numpy()
    train, val, test, transfer = (joined.marked(part) & there for part in (TRAIN, VAL, TEST, TRANSFER))
    numeric = is_number(values)
    true = values.to_numpy(dtype=float) if numeric else values.astype(str).to_numpy(dtype=object)
    predicted = (predictor.number if numeric else predictor.category)(true, train, val)
    for is_transfer, tested in ((False, test), (True, transfer)):
        for metric in (R2, TAU) if numeric else (ACCURACY,):
            if tested.any():
                score = Scoring(SCORES[metric], true, predicted.values, joined.models)
                low, high = score.interval(tested, options.bootstrap, options.seed)
                yield {
                    "transfer": is_transfer,
                    **{"target": target, "model": predicted.model, "metric": metric},
                    **{"train": score(train), "val": score(val), "test": score(tested), "low": low, "high": high},
                    "penalty": predicted.penalty,
                    **{f"{part}_models": score.models_in(mask) for part, mask in (("train", train), ("val", val))},
                    **{"test_models": score.models_in(tested), "test_states": int(tested.sum())},
                }


def is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


@dataclass(frozen=True)
class Scoring:
    """A metric of predictions [samples], for those that a mask [samples] marks."""

    score: scores.Score
    true: np.ndarray
    predicted: np.ndarray
    models: np.ndarray

    def __call__(self, mask: np.ndarray) -> float:
        return float(self.drawn(mask, np.ones((1, self.models_in(mask))))[0])

    def interval(self, mask: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
        """By drawing models, each with all its states: the states of a model are no independent ones."""
        return scores.interval(self.drawn(mask, scores.draws(self.models_in(mask), draws, seed)))

    def models_in(self, mask: np.ndarray) -> int:
        return len(np.unique(self.models[mask]))

    def drawn(self, mask: np.ndarray, counts: np.ndarray) -> np.ndarray:
        _, places = np.unique(self.models[mask], return_inverse=True)
        return self.score(self.true[mask], self.predicted[mask], places, counts)


def table(found: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """By target, as they come, and for each from w, then from s(w)."""
    rows = pd.DataFrame(found, columns=COLUMNS)
    targets = {target: place for place, target in enumerate(rows["target"].unique())}
    keys = pd.DataFrame({"target": rows["target"].map(targets), "features": rows["features"] != W})
    return rows.iloc[keys.sort_values(["target", "features"], kind="stable").index].reset_index(drop=True)

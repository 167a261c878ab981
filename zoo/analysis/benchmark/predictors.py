"""What predicts: ridge regression and linear classifiers, with the penalty chosen on the validation part; LightGBM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import scipy.linalg

from zoo.errors import ZooError, one_line

PENALTIES = (1e3, *(float(f"{digit}e{power}") for power in range(2, -6, -1) for digit in (3, 1)))
"""From the largest: 1e3, 3e2, 1e2 ... 3e-5, 1e-5, as in the code that was published with the paper."""

LINEAR, LIGHTGBM = "linear", "lightgbm"
RIDGE, LOGISTIC = "ridge", "logistic"  # classifiers
INSTALL = "pip install lightgbm"


@dataclass(frozen=True)
class Prediction:
    """`values`: for all samples, numbers or names of classes. `penalty`: the chosen one, NaN where there is none."""

    model: str
    values: np.ndarray
    penalty: float = np.nan


class Predictor(Protocol):
    """Predicts a target [samples] for all samples, fitted to those in train, and chosen by those in val: masks."""

    def number(self, target: np.ndarray, train: np.ndarray, val: np.ndarray) -> Prediction: ...

    def category(self, target: np.ndarray, train: np.ndarray, val: np.ndarray) -> Prediction: ...


class Decomposition:
    """Ridge regression for all penalties from one singular value decomposition.

    The penalised sum is |y - Xw - offset|^2 + penalty |w|^2, as in scikit-learn.
    """

    def __init__(self, features: np.ndarray, train: np.ndarray):
        means = features[train].mean(axis=0)
        self.train = train
        self.left, self.scales, right = scipy.linalg.svd(features[train] - means, full_matrices=False)
        self.projected = (features - means) @ right.T  # [samples, rank]

    def predict(self, targets: np.ndarray, penalty: float) -> np.ndarray:
        """Of targets [samples, any], those in train are looked at: predictions for all."""
        offset = targets[self.train].mean(axis=0)
        loads = self.left.T @ (targets[self.train] - offset)
        return offset + self.projected @ (loads * (self.scales / (self.scales**2 + penalty))[:, None])


class Linear:
    """Ridge regression of numbers; categories by ridge regression of their indicators, 1 or -1, or by multinomial
    logistic regression.

    The ridge classifier is the faster by far, since it shares the decomposition. The paper's code trains a softmax
    layer by Adam for 50 epochs, to which logistic regression is nearer.
    """

    def __init__(self, features: np.ndarray, penalties: Sequence[float], classifier: str):
        self.features, self.penalties, self.classifier = features, sorted(penalties, reverse=True), classifier
        self.known: dict[bytes, Decomposition] = {}

    def decomposition(self, train: np.ndarray) -> Decomposition:
        """Targets that the same samples have share one."""
        if train.tobytes() not in self.known:
            self.known = {train.tobytes(): Decomposition(self.features, train)}
        return self.known[train.tobytes()]

    def number(self, target: np.ndarray, train: np.ndarray, val: np.ndarray) -> Prediction:
        found = [self.decomposition(train).predict(target[:, None], penalty)[:, 0] for penalty in self.penalties]
        errors = [np.square(values[val] - target[val]).sum() for values in found]
        return self.best(RIDGE, found, errors)

    def category(self, target: np.ndarray, train: np.ndarray, val: np.ndarray) -> Prediction:
        found = self.logistic(target, train) if self.classifier == LOGISTIC else self.by_indicators(target, train)
        return self.best(self.classifier, found, [(values[val] != target[val]).sum() for values in found])

    def by_indicators(self, target: np.ndarray, train: np.ndarray) -> list[np.ndarray]:
        """By penalty, the class whose indicator is predicted to be the largest."""
        classes = np.unique(target[train])
        indicators = np.where(target[:, None] == classes, 1.0, -1.0)
        scores = (self.decomposition(train).predict(indicators, penalty) for penalty in self.penalties)
        return [classes[score.argmax(axis=1)] for score in scores]

    def logistic(self, target: np.ndarray, train: np.ndarray) -> list[np.ndarray]:
        """By penalty, each fit from the one before."""
        from sklearn.linear_model import LogisticRegression  # takes a second

        model = LogisticRegression(max_iter=1000, warm_start=True)
        found = []
        for penalty in self.penalties:
            model.set_params(C=1 / penalty).fit(self.features[train], target[train])
            found.append(model.predict(self.features))
        return found

    def best(self, model: str, found: Sequence[np.ndarray], errors: Sequence[float]) -> Prediction:
        """Of the least error; of equal ones that with the largest penalty."""
        place = int(np.argmin(errors))
        return Prediction(model, found[place], self.penalties[place])


class Trees:
    """Gradient boosting by LightGBM; validation says when to stop."""

    options: Mapping[str, Any] = {
        **{"n_estimators": 1000, "learning_rate": 0.05, "num_leaves": 31, "colsample_bytree": 0.3, "subsample": 0.8},
        **{"subsample_freq": 1, "random_state": 0, "deterministic": True, "force_row_wise": True, "verbose": -1},
        "n_jobs": 1,  # OpenMP's threads wait for one another: where others compute, too, a second takes a minute
    }
    patience = 50  # trees without a better validation score

    def __init__(self, features: np.ndarray):
        self.features = features

    def number(self, target: np.ndarray, train: np.ndarray, val: np.ndarray) -> Prediction:
        model = lightgbm().LGBMRegressor(**self.options)
        return self.fitted(model, target, train, val)

    def category(self, target: np.ndarray, train: np.ndarray, val: np.ndarray) -> Prediction:
        classes = np.unique(target[train])
        known = np.isin(target, classes)  # LightGBM takes no class that it never saw
        places = np.searchsorted(classes, np.where(known, target, classes[0]))
        found = self.fitted(lightgbm().LGBMClassifier(**self.options), places, train, val & known)
        return replace(found, values=classes[found.values])

    def fitted(self, model: Any, target: np.ndarray, train: np.ndarray, val: np.ndarray) -> Prediction:
        stop = lightgbm().early_stopping(self.patience, verbose=False)
        checked = {"eval_X": self.features[val], "eval_y": target[val]}
        model.fit(self.features[train], target[train], **checked, callbacks=[stop])
        return Prediction(LIGHTGBM, model.predict(self.features))


def lightgbm() -> Any:
    try:
        import lightgbm  # takes a second
    except (ImportError, OSError) as error:  # the latter where the system has no OpenMP (Debian's libgomp1)
        raise ZooError(f"models=[lightgbm] needs the package lightgbm: {INSTALL} ({one_line(error)})") from error
    return lightgbm

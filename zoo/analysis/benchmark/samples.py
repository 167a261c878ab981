"""Samples of a zoo's models, what is predicted of them, and the parts that they are fitted and scored in."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo.analysis.viable import viable
from zoo.dataset.dataset import ZooDataset
from zoo.dataset.splits import seeded_splits, split_models
from zoo.errors import ZooError

SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
TRAIN, VAL, TEST = SHARES
TRANSFER = "transfer"
METRICS = ["test_acc", "ggap"]  # of states; what else can be predicted of one is its epoch
SEED = "seed"


@dataclass(frozen=True)
class Samples:
    """A sample is a model's state, or several of its states together.

    `models`: ids [samples]. `epochs`: whose weights are looked at [samples, steps]. `targets`: a row per sample.
    `parts`: train, val or test [samples].
    """

    dataset: ZooDataset
    models: np.ndarray
    epochs: np.ndarray
    targets: pd.DataFrame
    parts: np.ndarray

    def __len__(self) -> int:
        return len(self.models)

    def __getitem__(self, chosen: np.ndarray) -> "Samples":
        targets = self.targets[chosen].reset_index(drop=True)
        return Samples(self.dataset, self.models[chosen], self.epochs[chosen], targets, self.parts[chosen])

    @property
    def nodes(self) -> np.ndarray:
        return self.dataset.models["node"].to_numpy(dtype=object)[self.models]


def of_states(dataset: ZooDataset, epochs: Iterable[int], parts: np.ndarray, max_weight: float | None) -> Samples:
    """A sample for each viable state at these epochs. `parts`: of all models."""
    found = [viable(dataset, epoch, max_weight)[0] for epoch in epochs]
    models = np.concatenate([states.models for states in found])
    at = np.concatenate([states.epochs for states in found])
    targets = pd.concat([metrics(dataset, models, at).assign(epoch=at), factors(dataset, models)], axis=1)
    return Samples(dataset, models, at[:, None], targets, parts[models])


def of_first_epochs(dataset: ZooDataset, epochs: Sequence[int], parts: np.ndarray, max_weight: float | None) -> Samples:
    """A sample for each finished model that is viable at these epochs and at its last, of which the metrics are."""
    at_ends: list[int | str] = [*epochs, "last"]
    found = [viable(dataset, epoch, max_weight)[0] for epoch in at_ends]
    models = found[-1].models
    for states in found[:-1]:
        models = np.intersect1d(models, states.models)
    last = dataset.models["last_epoch"].to_numpy()[models]
    at = np.array([states.epochs[0] for states in found[:-1] if len(states)], dtype=np.int64)
    return Samples(dataset, models, np.tile(at, (len(models), 1)), metrics(dataset, models, last), parts[models])


def unknown(samples: Samples, fitted: Samples) -> Samples:
    """Those of the test part whose nodes are not among the fitted zoo's."""
    return samples[(samples.parts == TEST) & ~np.isin(samples.nodes, fitted.nodes)]


def metrics(dataset: ZooDataset, models: np.ndarray, epochs: np.ndarray) -> pd.DataFrame:
    rows = pd.MultiIndex.from_arrays([models, epochs])
    return dataset.states.set_index(["id", "epoch"])[METRICS].reindex(rows).reset_index(drop=True)


def factors(dataset: ZooDataset, models: np.ndarray) -> pd.DataFrame:
    return dataset.models[dataset.factors].iloc[models].reset_index(drop=True)


def chosen_epochs(dataset: ZooDataset, epochs: Sequence[int] | None, shares: Sequence[float]) -> list[int]:
    """Those asked for, ascending; if None, those after these shares of the training."""
    last = dataset.mapped.shape[1] - 1
    if epochs is None:
        return sorted({max(1, round(share * last)) if last else 0 for share in shares})
    wrong = [epoch for epoch in epochs if type(epoch) is not int or not -last - 1 <= epoch <= last]
    if wrong or not epochs:
        raise ZooError(f"epochs={list(epochs)}: give some of 0 to {last}, which {dataset.path} has, or -1 for the last")
    return sorted({epoch % (last + 1) for epoch in epochs})


def parted(dataset: ZooDataset, exact: bool, seed: int) -> np.ndarray:
    """The part [models] of each model: the zoo's own splits, or exact shares, drawn by `seed`."""
    nodes = dataset.models["node"].tolist()
    return seeded_splits(nodes, SHARES, seed) if exact else split_models(nodes)


@dataclass(frozen=True)
class Joined:
    """The samples of a zoo, and behind them those of another one's test part, which are the part `transfer`."""

    groups: Sequence[Samples]
    models: np.ndarray  # [samples], those of the other zoo with other numbers
    nodes: np.ndarray
    parts: np.ndarray
    targets: pd.DataFrame

    @classmethod
    def of(cls, own: Samples, other: Samples | None = None) -> "Joined":
        groups = [own] if other is None else [own, other]
        return cls(
            groups,
            np.concatenate([own.models, *(group.models + len(own.dataset.models) for group in groups[1:])]),
            np.concatenate([group.nodes for group in groups]),
            np.concatenate([own.parts, *(np.full(len(group), TRANSFER, dtype=object) for group in groups[1:])]),
            pd.concat([group.targets for group in groups], ignore_index=True)[list(own.targets)],
        )

    def marked(self, part: str) -> np.ndarray:
        return self.parts == part

    def why_not(self, target: str) -> str | None:
        """Why a target can't be predicted, if so."""
        if target == SEED:
            return "a seed is drawn, no property to be told"
        values = self.targets[target]
        if not values.notna().any():
            return "no model has a value"
        for part in SHARES:
            there = values[self.marked(part)].dropna()
            if not len(there):
                return f"the part {part} has no models with a value"
            if part == TRAIN and there.astype(str).nunique() == 1:
                return f"constant: {there.iloc[0]}" + " in the part train" * (values.dropna().astype(str).nunique() > 1)
        return None

    def leaks(self, features: np.ndarray) -> dict[str, int]:
        """What of the test part is known from the others. Equal `features` [samples, any] are taken for equal states.

        Raises ZooError if a model is in two parts.
        """
        for part in (VAL, TEST, TRANSFER):
            if both := set(self.nodes[self.marked(part)]) & set(self.nodes[~self.marked(part)]):
                raise ZooError(f"{min(both)} is in the part {part}, and in another: no score would say anything")
        _, groups = np.unique(features, axis=0, return_inverse=True)
        fitted = self.marked(TRAIN) | self.marked(VAL)
        equal = self.marked(TEST) & np.isin(groups.ravel(), groups.ravel()[fitted])
        return {"models_in_two_parts": 0, "equal_states": int(equal.sum())} | self.shared_seeds(fitted)

    def shared_seeds(self, fitted: np.ndarray) -> dict[str, int]:
        """How many models of the test part have the seed of one of another: they can have begun as that one did."""
        if SEED not in self.targets:
            return {}
        known = self.targets.loc[fitted, SEED].dropna()
        shares = self.marked(TEST) & self.targets[SEED].isin(known).to_numpy()
        return {"models_with_a_known_seed": len(np.unique(self.models[shares]))}

    def counts(self) -> dict[str, dict[str, int]]:
        masks = {part: self.marked(part) for part in SHARES}
        return {
            part: {"models": len(np.unique(self.models[mask])), "states": int(mask.sum())}
            for part, mask in masks.items()
        }

"""How alike the models of a zoo are: in what they predict, in their activations, in their weights.

The quantities of Table 2 of Schürholt et al. 2022, "Model Zoos", Section 4. Norms are not squared, as in their numbers:

    kappa_aggr(k, l)  share of test images for which the models k and l predict the same class
    kappa_cka(k, l)   linear centred kernel alignment of a layer's outputs on some test images (Kornblith et al. 2019,
                      "Similarity of Neural Network Representations Revisited"), averaged over layers
    w                 all weights of all models
    l2(k, l)          |w_k - w_l| / mean over all models n of |w_n|
    cos(k, l)         1 - w_k w_l / (|w_k| |w_l|)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from zoo.analysis import outputs
from zoo.analysis.outputs import States
from zoo.analysis.results import Results
from zoo.analysis.viable import viable
from zoo.dataset.dataset import ZooDataset
from zoo.errors import ZooError

BYTES = 2**27  # of vectors, or of their products, at once
ALL = "all"


@dataclass(frozen=True)
class Pairs:
    """Pairs of models, by their places among those that are looked at: `first` < `second`, [pairs] each."""

    first: np.ndarray
    second: np.ndarray

    @classmethod
    def of(cls, models: int, most: int, seed: int) -> "Pairs":
        """All pairs of so many models; a sample of `most` different ones, drawn by `seed`, if there are more."""
        count = models * (models - 1) // 2
        if count <= most:
            return cls(*np.triu_indices(models, 1))
        chosen = np.sort(np.random.default_rng(seed).choice(count, most, replace=False, shuffle=False))
        # pair number i * models - i * (i + 1) / 2 is the first one of model i
        starts = (
            np.arange(models, dtype=np.int64) * models
            - np.arange(models, dtype=np.int64) * np.arange(1, models + 1) // 2
        )
        first = np.searchsorted(starts, chosen, side="right") - 1
        return cls(first, chosen - starts[first] + first + 1)

    def __len__(self) -> int:
        return len(self.first)

    def parts(self, size: int) -> Iterator[slice]:
        return (slice(start, start + size) for start in range(0, len(self), size))


@dataclass(frozen=True)
class Weights:
    """The trained parameters of some states, read a part at a time: of large models, all would fill the memory."""

    dataset: ZooDataset
    states: States
    sums: np.ndarray  # [states], of all parameters of each
    squares: np.ndarray  # [states], of their squares
    parameters: int

    @classmethod
    def of(cls, dataset: ZooDataset, states: States) -> "Weights":
        sums, squares, parameters = np.zeros(len(states)), np.zeros(len(states)), 0
        for part in columns(dataset, states):
            sums += part.double().sum(1).numpy()
            squares += part.double().square().sum(1).numpy()
            parameters += part.shape[1]
        return cls(dataset, states, sums, squares, parameters)

    def __len__(self) -> int:
        return len(self.states)

    def columns(self) -> Iterator[Tensor]:
        return columns(self.dataset, self.states)

    def spread(self, has: np.ndarray) -> dict[str, float]:
        """Mean and standard deviation of all weights of the states that `has` marks [states]."""
        count = int(has.sum()) * self.parameters
        mean = self.sums[has].sum() / count
        variance = (self.squares[has].sum() - count * mean**2) / (count - 1)
        return {"w_mean": float(mean), "w_std": float(np.sqrt(max(variance, 0)))}


def columns(dataset: ZooDataset, states: States) -> Iterator[Tensor]:
    """The states' parameters [states, some], one part after another."""
    size = max(1, BYTES // (4 * len(states)))
    for entry in dataset.architecture.tensors:
        if entry.kind == "parameter":
            for start in range(entry.start, entry.start + entry.length, size):
                yield torch.stack(
                    [
                        dataset.mapped.state(model, epoch)[start : min(start + size, entry.start + entry.length)]
                        for model, epoch in zip(states.models.tolist(), states.epochs.tolist(), strict=True)
                    ]
                )


def analyze(
    dataset: ZooDataset,
    *,
    epoch: int | str = "last",
    cka_images: int = 50,
    cka_layers: Sequence[str] | None = None,
    unbiased: bool = False,
    pairs: int = 10_000_000,
    seed: int = 0,
    max_weight: float | None = None,
) -> Results:
    """Table 2 of a zoo at an epoch, or its models' last or best: of its viable models, and by the factors' values.

    `cka_images`: the first of the test images. `cka_layers`: by name, all if None. `unbiased`: Song et al.'s estimator
    of the alignment (2012), as Nguyen et al. 2021 use it. `pairs`: as many are compared at most, drawn by `seed`.
    `max_weight`: models with a larger |weight| are not viable, as those whose weights are not finite or not there.

    The tables are `population`, a row for all models and one for each factor's value: within are the pairs that share
    it, between those of which one has it; `cka_by_layer`, and `not_viable`. The arrays are `pairs`: the models' ids,
    which two each pair is, and the four quantities.
    """
    states, left_out = viable(dataset, epoch, max_weight)
    if len(states) < 2:
        raise ZooError(f"{dataset.path} has {len(states)} viable models at epoch {epoch}: to compare some takes two")
    chosen = Pairs.of(len(states), pairs, seed)
    test = dataset.images().testset.images
    if not len(test):
        raise ZooError(f"{dataset.path} has no test images, on which models are compared")
    layers = by_layer(dataset, states, chosen, test[:cka_images], unbiased, cka_layers)
    weights = Weights.of(dataset, states)
    found = {
        "kappa_aggr": agreement(outputs.predictions(dataset, states, test, "predictions"), chosen),
        "kappa_cka": np.mean(list(layers.values()), axis=0),
        **distances(weights, chosen),
    }
    table = pd.DataFrame(rows(dataset, states, chosen, found, weights))
    return Results(
        tables={"population": table, "cka_by_layer": layer_table(layers), "not_viable": left_out},
        arrays={"pairs": {"models": states.models, "first": chosen.first, "second": chosen.second, **found}},
        numbers={"images": len(test), "cka_images": min(cka_images, len(test)), "all_pairs": len(chosen) <= pairs},
    )


# --------------------------------------------------------------------------------------------------------- quantities


def agreement(predicted: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Of predicted classes [models, images]: the share of images [pairs] for which both models' are the same."""
    models, images = predicted.shape
    if len(pairs) * 2 < models * (models - 1):  # a sample
        parts = [
            np.mean(predicted[pairs.first[part]] == predicted[pairs.second[part]], axis=1)
            for part in pairs.parts(2**10)
        ]
        return np.concatenate(parts).astype(np.float32)
    same = torch.zeros(models, models)
    for cls in np.unique(predicted):
        has = torch.from_numpy((predicted == cls).astype(np.float32))  # counts are exact below 2**24 images
        same += has @ has.T
    return (same.numpy()[pairs.first, pairs.second].astype(np.float64) / images).astype(np.float32)


def distances(weights: Weights, pairs: Pairs) -> dict[str, np.ndarray]:
    """l2 and cos [pairs]."""
    products = inner_products(weights.columns, len(weights), pairs, "distances")
    first, second = weights.squares[pairs.first], weights.squares[pairs.second]
    l2 = np.sqrt(np.maximum(first + second - 2 * products, 0)) / np.sqrt(weights.squares).mean()
    cosine = products / np.sqrt(first * second)
    return {"l2": l2.astype(np.float32), "cos": (1 - cosine).astype(np.float32)}


def inner_products(
    columns: Callable[[], Iterator[Tensor]], count: int, pairs: Pairs, progress: str | None = None
) -> np.ndarray:
    """Of so many vectors, of which `columns` gives some components [count, some] after another: products [pairs].

    In double precision, some vectors with all at a time: little memory, and the speed of a product of matrices.
    """
    found = np.empty(len(pairs))
    size = max(1, BYTES // (8 * count))
    for start in tqdm(range(0, count, size), progress, unit="block", disable=progress is None):
        products = torch.zeros(min(size, count - start), count, dtype=torch.float64)
        for part in columns():
            products += part[start : start + size].double() @ part.double().T
        first, end = np.searchsorted(pairs.first, [start, start + size])
        found[first:end] = products.numpy()[pairs.first[first:end] - start, pairs.second[first:end]]
    return found


def by_layer(
    dataset: ZooDataset,
    states: States,
    pairs: Pairs,
    images: Tensor,
    unbiased: bool,
    chosen: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Linear CKA [pairs] by layer."""
    grams: dict[str, Tensor] = {}
    with tqdm(total=len(states), desc="activations", unit="model") as bar:
        for places, layers in outputs.activations(dataset, states, images):
            for name, activations in layers.items():
                if name not in grams:
                    grams[name] = torch.empty(len(states), len(images) ** 2)
                grams[name][places] = unit_grams(activations.flatten(2).double(), unbiased).float()
            bar.update(len(places))
    wanted = list(grams) if chosen is None else list(chosen)
    if unknown := [name for name in wanted if name not in grams]:
        raise ZooError(f"cka_layers: {dataset.path} has no layer {unknown[0]!r}, but {', '.join(grams)}")
    return {name: alignment(grams[name], pairs) for name in wanted}


def alignment(grams: Tensor, pairs: Pairs) -> np.ndarray:
    return inner_products(lambda: iter([grams]), len(grams), pairs).astype(np.float32)


def unit_grams(activations: Tensor, unbiased: bool) -> Tensor:
    """Of activations [models, images, features]: the centred Gram matrices [models, images x images], of length 1.

    The product of two models' is their linear CKA: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). It is 0 for a layer that
    gives the same for all images.
    """
    grams = activations @ activations.transpose(1, 2)
    grams = u_centred(grams) if unbiased else centred(grams)
    flat = grams.flatten(1)
    norms = flat.norm(dim=1, keepdim=True)
    return torch.where(norms > 0, flat / norms, 0.0)


def centred(grams: Tensor) -> Tensor:
    """H K H, with H = I - 1/n."""
    grams = grams - grams.mean(dim=2, keepdim=True)
    return grams - grams.mean(dim=1, keepdim=True)


def u_centred(grams: Tensor) -> Tensor:
    """Such that the product of two, by n (n - 3), is Song et al.'s unbiased estimator of HSIC (2012, eq. 5).

    As Székely and Rizzo 2014 centre distances ("Partial distance correlation with methods for dissimilarities").
    """
    count = grams.shape[1]
    if count < 4:
        raise ZooError(f"the unbiased alignment takes 4 images or more, not {count}")
    grams = grams - torch.diag_embed(grams.diagonal(dim1=1, dim2=2))
    sums = grams.sum(dim=2) / (count - 2)
    total = grams.sum(dim=(1, 2)) / ((count - 1) * (count - 2))
    found = grams - sums.unsqueeze(1) - sums.unsqueeze(2) + total[:, None, None]
    return found - torch.diag_embed(found.diagonal(dim1=1, dim2=2))


# ------------------------------------------------------------------------------------------------------------- tables


def rows(
    dataset: ZooDataset, states: States, pairs: Pairs, found: Mapping[str, np.ndarray], weights: Weights
) -> Iterator[dict[str, object]]:
    """Of all models, and of those with each value of a factor but the seed."""
    metrics = dataset.states.set_index(["id", "epoch"]).loc[list(zip(states.models, states.epochs, strict=True))]
    models = dataset.models.iloc[states.models]
    everything = np.ones(len(states), dtype=bool)
    yield row(ALL, ALL, everything, metrics, weights, pairs, found)
    for factor in dataset.factors:
        if factor == "seed":
            continue
        values = models[factor].to_numpy()
        for value in sorted(pd.unique(models[factor]), key=str):
            has = pd.isna(values) if pd.isna(value) else values == value
            yield row(factor, value, has, metrics, weights, pairs, found)


def row(
    factor: str,
    value: object,
    has: np.ndarray,
    metrics: pd.DataFrame,
    weights: Weights,
    pairs: Pairs,
    found: Mapping[str, np.ndarray],
) -> dict[str, object]:
    """Means and standard deviations of the models that `has` marks [models], and of their pairs."""
    first, second = has[pairs.first], has[pairs.second]
    chosen = {"": first & second}
    if factor != ALL:
        chosen["_between"] = first != second
    cells: dict[str, object] = {"factor": factor, "value": value, "models": int(has.sum())}
    cells |= spread("acc", metrics["test_acc"].to_numpy()[has]) | spread("ggap", metrics["ggap"].to_numpy()[has])
    cells |= weights.spread(has)
    for suffix, where in chosen.items():
        cells[f"pairs{suffix}"] = int(where.sum())
        for name, values in found.items():
            cells |= spread(f"{name}{suffix}", values[where])
    return cells


def spread(name: str, values: np.ndarray) -> dict[str, float]:
    """Mean, and standard deviation (of a sample); NaN of too few values."""
    numbers = values[np.isfinite(values)].astype(np.float64)
    return {
        f"{name}_mean": float(numbers.mean()) if len(numbers) else np.nan,
        f"{name}_std": float(numbers.std(ddof=1)) if len(numbers) > 1 else np.nan,
    }


def layer_table(layers: Mapping[str, np.ndarray]) -> pd.DataFrame:
    return pd.DataFrame([{"layer": name} | spread("kappa_cka", values) for name, values in layers.items()])

"""The annotations of the Phase Transition zoos (Schürholt et al. 2025, arXiv:2504.18072, after Yang et al. 2021).

Of each model: how curved and how sharp the loss is around it, and how it is connected with its siblings, the models
that differ from it in nothing but the seed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import load_file, save
from torch import Tensor, nn
from tqdm import tqdm

from zoo.analysis import outputs
from zoo.analysis.landscape import connectivity, curvature
from zoo.analysis.landscape.connectivity import Bends, Profile, bent, profile, scores
from zoo.analysis.landscape.curvature import Losses
from zoo.analysis.outputs import States
from zoo.analysis.population import Pairs, by_layer
from zoo.analysis.results import Results
from zoo.analysis.viable import viable
from zoo.data.images import Split
from zoo.dataset.dataset import ZooDataset
from zoo.dataset.transforms import Align, PermutationSpec
from zoo.disk import files, paths
from zoo.errors import ZooError

Columns = dict[str, np.ndarray]  # [models or pairs]
MODELS_AT_ONCE = 8  # of curvature: more are no faster
PAIRS_AT_ONCE = 16


@dataclass(frozen=True)
class Curved:
    """How curvature is measured."""

    batch: int
    iterations: int
    tolerance: float
    probes: int
    radius: float
    seed: int


@dataclass(frozen=True)
class Work:
    """What is looked at, and the folder of what was found before an interruption."""

    dataset: ZooDataset
    states: States
    train: Split  # the chosen images
    test: Split  # may be empty, as all columns of it are then
    scratch: Path

    def network(self, place: int) -> nn.Module:
        """Of a state, with any weights."""
        return self.dataset.untrained(int(self.states.models[place]))

    def resumed(
        self, name: str, parts: Sequence[np.ndarray], job: Callable[[np.ndarray], Columns], unit: str
    ) -> Columns:
        """What the job finds for each part, one after another; what was found before an interruption is read."""
        found = []
        with tqdm(total=sum(map(len, parts)), desc=name, unit=unit) as bar:
            for number, part in enumerate(parts):
                path = paths.arrays(self.scratch, f"{name}-{number:06d}")
                if path.exists():
                    found.append(load_file(path))
                else:
                    found.append({key: np.ascontiguousarray(values) for key, values in job(part).items()})
                    files.write_bytes(path, save(found[-1]))
                bar.update(len(part))
        return {key: np.concatenate([part[key] for part in found]) for key in found[0]} if found else {}


def analyze(
    dataset: ZooDataset,
    *,
    scratch: Path,
    epoch: int | str = "last",
    images: int = 640,
    batch: int = 64,
    iterations: int = 50,
    tolerance: float = 0.01,
    probes: int = 20,
    radius: float = 0.05,
    siblings: int = 2,
    points: int = 11,
    path_images: int = 2000,
    curve_steps: int = 0,
    curve_lr: float = 0.01,
    cka_images: int = 50,
    seed: int = 0,
) -> Results:
    """Columns of models.csv, of the states at an epoch. Names end in _test where test images were used.

    Around each model, on `images` of the training and of the test images, in batches of `batch`:

    - hessian_top_eigenvalue, hessian_trace: of the mean loss in evaluation mode, by Lanczos' method (until its bound of
      the error is below `tolerance` of the value, or after so many `iterations`), and by Hutchinson's estimate with so
      many `probes`. Columns `..._error` have the bound, and the estimate's standard error.
    - sharpness: by how much a step of length `radius` along the gradient raises the training loss.

    Between each model and some others that differ from it in the seed alone (`siblings` or one more, drawn by `seed`),
    on `path_images` images at `points` points of the straight line; means over the siblings:

    - barrier_loss, barrier_error: how far loss and share of errors rise above the line between the ends
    - connectivity_error: Yang et al.'s mode connectivity; with `curve_steps`, curve_connectivity_error is that of a
      Bezier curve that was trained for so many steps at the learning rate `curve_lr`
    - average_acc_delta: the test accuracy of the average of both, minus the mean of theirs
    - aligned_...: the same after the sibling's hidden units were matched to the model's
    - cka: linear alignment of all layers on the first `cka_images` test images, as in `population`

    The tables are `pairs`, a row for each pair of siblings, and `not_viable`.
    """
    states, left_out = viable(dataset, epoch)
    if not len(states):
        raise ZooError(f"{dataset.path} has no viable models at epoch {epoch}")
    data, random = dataset.images(), np.random.default_rng(seed)
    near = Work(dataset, states, drawn(data.trainset, images, random), drawn(data.testset, images, random), scratch)
    how = Curved(batch, iterations, tolerance, probes, radius, seed)
    models = near.resumed("curvature", tasks(dataset, states), lambda places: curved(near, places, how), "model")
    table = pd.DataFrame(models).set_index("place").sort_index()
    chosen = sibling_pairs(dataset, states, siblings, random)
    pairs: Columns = {}
    if len(chosen):
        splits = drawn(data.trainset, path_images, random), drawn(data.testset, path_images, random)
        far, bends = Work(dataset, states, *splits, scratch), Bends(points, curve_steps, batch, curve_lr, seed)
        parts = [np.arange(len(chosen))[part] for part in chosen.parts(PAIRS_AT_ONCE)]
        pairs = far.resumed("paths", parts, lambda some: connected(far, chosen, some, bends), "pair")
        cka = by_layer(dataset, states, chosen, data.testset.images[:cka_images], unbiased=False)
        pairs |= {"cka": np.mean(list(cka.values()), axis=0)}
        table = table.join(means_by_model(pairs, chosen, len(states)))
    table.index = pd.Index(states.models[table.index.to_numpy()], name="id")
    ends = {"id": states.models[chosen.first], "sibling": states.models[chosen.second]}
    return Results(
        tables={"pairs": pd.DataFrame(ends | pairs), "not_viable": left_out},
        models=table,
        numbers={"pairs": len(chosen), "train_images": len(near.train), "test_images": len(near.test)},
    )


def drawn(split: Split, count: int, random: np.random.Generator) -> Split:
    """So many of the images, in their order."""
    chosen = torch.from_numpy(np.sort(random.permutation(len(split))[:count]))
    return Split(split.images[chosen], split.labels[chosen])


# ------------------------------------------------------------------------------------------------------ around a model


def tasks(dataset: ZooDataset, states: States) -> list[np.ndarray]:
    """The states' places, some at a time, whose networks differ in nothing but weights."""
    groups = outputs.alike(dataset, states)
    return [
        places[start : start + MODELS_AT_ONCE] for places in groups for start in range(0, len(places), MODELS_AT_ONCE)
    ]


def curved(work: Work, places: np.ndarray, how: Curved) -> Columns:
    network, weights = work.network(places[0]), work.states[places].weights(work.dataset)
    found: Columns = {"place": places}
    for name, split in (("train", work.train), ("test", work.test)):
        if len(split):
            losses = Losses(network, work.dataset.architecture, weights, split, how.batch)
            top, error = curvature.top_eigenvalues(losses, how.iterations, how.tolerance, how.seed)
            trace, spread = curvature.traces(losses, how.probes, how.seed)
            found |= {
                f"hessian_top_eigenvalue_{name}": top.numpy(),
                f"hessian_top_eigenvalue_error_{name}": error.numpy(),
            }
            found |= {f"hessian_trace_{name}": trace.numpy(), f"hessian_trace_error_{name}": spread.numpy()}
            if name == "train":
                found["sharpness"] = curvature.sharpness(losses, how.radius).numpy()
    return found


# ------------------------------------------------------------------------------------------------------ between models


def sibling_pairs(dataset: ZooDataset, states: States, count: int, random: np.random.Generator) -> Pairs:
    """Pairs of states whose models differ in the seed alone: `count` or one more for each, or all there are."""
    factors = [factor for factor in dataset.factors if factor != "seed"]
    models = dataset.models.iloc[states.models][factors].astype(str).agg("\0".join, axis=1) if factors else None
    families = (
        [np.arange(len(states))]
        if models is None
        else [np.flatnonzero((models == value).to_numpy()) for value in pd.unique(models)]
    )
    pairs = set()
    for family in families:
        order = random.permutation(family)
        # in a ring of its members, those that are so many steps apart: two siblings for each
        for step in range(1, min(-(-count // 2), len(order) // 2) + 1):
            pairs |= {tuple(sorted(pair)) for pair in zip(order.tolist(), np.roll(order, step).tolist(), strict=True)}
    found = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    return Pairs(found[:, 0], found[:, 1])


def connected(work: Work, pairs: Pairs, some: np.ndarray, bends: Bends) -> Columns:
    """What is found along the paths of some pairs: their networks are those of their first."""
    found: dict[str, list[np.ndarray]] = {}
    for places in alike_pairs(work, pairs, some):
        columns = connected_alike(work, pairs.first[places], pairs.second[places], bends) | {"pair": places}
        for name, values in columns.items():
            found.setdefault(name, []).append(values)
    order = np.argsort(np.concatenate(found.pop("pair")))
    return {name: np.concatenate(values)[order] for name, values in found.items()}


def alike_pairs(work: Work, pairs: Pairs, some: np.ndarray) -> list[np.ndarray]:
    """Some pairs, those together whose networks differ in nothing but weights."""
    return [some[places] for places in outputs.alike(work.dataset, work.states[pairs.first[some]])]


def connected_alike(work: Work, first: np.ndarray, second: np.ndarray, bends: Bends) -> Columns:
    network, architecture = work.network(first[0]), work.dataset.architecture
    start, end = (work.states[places].weights(work.dataset) for places in (first, second))
    spec = PermutationSpec.of(network)
    aligned = torch.stack([Align(spec, own)(other) for own, other in zip(start, end, strict=True)])
    found: Columns = {}
    for prefix, to in (("", end), ("aligned_", aligned)):
        for suffix, split in (("", work.train), ("_test", work.test)):
            if len(split):
                along = profile(network, architecture, connectivity.line(start, to), bends.points, split)
                found |= described(along, prefix, suffix)
        if len(work.test):
            _, middle = scores(network, architecture, start.lerp(to, 0.5), work.test)
            found[f"{prefix}average_acc_delta"] = (along.error[:, 0] + along.error[:, -1]) / 2 - middle
    if bends.steps:
        found |= along_curves(work, network, start, end, bends)
    return found


def described(along: Profile, prefix: str, suffix: str) -> Columns:
    return {
        f"{prefix}barrier_loss{suffix}": along.barrier("loss"),
        f"{prefix}barrier_error{suffix}": along.barrier("error"),
        f"{prefix}connectivity_error{suffix}": along.connectivity("error"),
    }


def along_curves(work: Work, network: nn.Module, start: Tensor, end: Tensor, bends: Bends) -> Columns:
    architecture = work.dataset.architecture
    middle = bent(network, architecture, start, end, work.train, bends)
    found: Columns = {}
    for suffix, split in (("", work.train), ("_test", work.test)):
        if len(split):
            along = profile(network, architecture, connectivity.bezier(start, middle, end), bends.points, split)
            found[f"curve_connectivity_error{suffix}"] = along.connectivity("error")
    return found


def means_by_model(pairs: Columns, chosen: Pairs, models: int) -> pd.DataFrame:
    """The mean of each column over the pairs that a model is in: by the model's place, missing if it is in none."""
    both = pd.concat([pd.DataFrame(pairs).assign(place=places) for places in (chosen.first, chosen.second)])
    return both.groupby("place").mean().reindex(range(models))

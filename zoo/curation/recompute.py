"""Models of a zoo evaluated again: are the accuracies in its records what its weights reach on its images?"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from zoo.curation.findings import Finding
from zoo.curation.known import build_known
from zoo.curation.open_zoo import OpenZoo
from zoo.curation.runs import Checked
from zoo.data.images import Split
from zoo.dataset.network import with_weights
from zoo.disk import paths
from zoo.format.train_metrics import RUNNING, train_metrics
from zoo.models.evaluate import EVALUATION_BATCH, evaluate, evaluation_batch

LOSS_ROUNDING = 1e-4  # relative, or below a loss of 1 absolute: engines and processors sum in other orders
NEAR = 1e-4  # by which, of the largest output, the best two must differ to be told apart whatever the rounding


def chosen(runs: Sequence[Checked], count: int, seed: int) -> list[Checked]:
    """So many of the runs, in their order."""
    places = np.random.default_rng(seed).permutation(len(runs))[:count]
    return [runs[place] for place in sorted(places)]


def recompute(zoo: OpenZoo, runs: Sequence[Checked], seed: int, trust: bool) -> list[Finding]:
    """Evaluate each at its last finite epoch, and at one before.

    Raises ZooError, which names the file, if a model's class is not known and the zoo's is not to be trusted.
    """
    images = zoo.images()
    splits = {"train": images.trainset, "val": images.valset, "test": images.testset}
    generator = np.random.default_rng(seed)
    found = []
    for run in tqdm(runs, "evaluating again", unit="model"):
        params, records = run.params or {}, run.records or []
        finite = [epoch for epoch, record in enumerate(records) if not record["diverged"]]
        if not finite:
            continue
        path = paths.params(zoo.runs.folder(run.task.node))
        model = build_known(path, params, zoo.architecture, zoo.path if trust else None)
        for epoch in sorted({finite[-1], int(generator.choice(finite))}):
            with_weights(model, zoo.architecture, zoo.weights.state(run.task.model, epoch).clone())
            measured = [name for name in splits if name != "train" or is_of_state(params, epoch)]
            batch = evaluation_batch(model, images.trainset.images[:1])
            for text in differences(model, {name: splits[name] for name in measured}, records[epoch], batch):
                result = paths.result(zoo.runs.folder(run.task.node)).relative_to(zoo.path)
                found.append(Finding(str(result), f"says of epoch {epoch} {text}"))
    return found


def is_of_state(params: Mapping[str, Any], epoch: int) -> bool:
    """Whether metrics of training images are of the epoch's state, rather than of its training steps."""
    return epoch == 0 or train_metrics(params) != RUNNING


@torch.inference_mode()
def differences(model: nn.Module, splits: Mapping[str, Split], record: Mapping[str, Any], batch: int) -> Iterator[str]:
    """What a record says of a model's state that is not so. `batch`: images at once."""
    for name, split in splits.items():
        loss, accuracy = evaluate(model, split, batch)
        recorded = record[f"{name}_acc"]
        if accuracy != recorded and not is_by_rounding(model, split, accuracy, recorded):
            yield f"{name}_acc {recorded}, but its state reaches {accuracy}"
        if not is_same_loss(loss, record[f"{name}_loss"]):
            yield f"{name}_loss {record[f'{name}_loss']}, but that of its state is {loss}"


def is_same_loss(loss: float | None, recorded: float | None) -> bool:
    if loss is None or not np.isfinite(loss) or recorded is None:
        return recorded is None and (loss is None or not np.isfinite(loss))
    return abs(loss - recorded) <= LOSS_ROUNDING * max(1.0, abs(recorded))


def is_by_rounding(model: nn.Module, split: Split, accuracy: float | None, recorded: float | None) -> bool:
    """Whether accuracies differ by no more images than those whose best two classes are equal but for rounding."""
    if accuracy is None or recorded is None:
        return False
    logits = torch.cat([model(part) for part in split.images.split(EVALUATION_BATCH)])
    best = logits.topk(2, dim=1).values
    near = (best[:, 0] - best[:, 1]) <= NEAR * logits.abs().amax(1)
    return round(abs(accuracy - recorded) * len(split)) <= int(near.sum())

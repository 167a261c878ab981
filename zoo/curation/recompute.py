"""Models of a zoo evaluated again: are the accuracies in its records what its weights reach on its images?"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
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
from zoo.errors import ZooError, one_line
from zoo.format.train_metrics import EXACT, train_metrics
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
    if zoo.images_digest is None:
        raise ZooError(
            f"{zoo.path} has no images, as many that were made elsewhere: its models can't be evaluated again"
        )
    images = zoo.images()
    splits = {"train": images.trainset, "val": images.valset, "test": images.testset}
    generator = np.random.default_rng(seed)
    found = []
    for run in tqdm(runs, "evaluating again", unit="model"):
        params, records = run.params or {}, run.records or []
        finite = [epoch for epoch, record in enumerate(records) if is_finite(zoo, run, epoch, record)]
        if not finite:
            continue
        path = paths.params(zoo.runs.folder(run.task.node))
        model = build_known(path, params, zoo.architecture, zoo.path if trust else None)
        for epoch in sorted({finite[-1], int(generator.choice(finite))}):
            with_weights(model, zoo.architecture, zoo.weights.state(run.task.model, epoch).clone())
            measured = {name: split for name, split in splits.items() if is_of_state(zoo, params, name, epoch)}
            for text in evaluated(zoo, path, model, measured, records[epoch]):
                result = paths.result(zoo.runs.folder(run.task.node)).relative_to(zoo.path)
                found.append(Finding(str(result), f"says of epoch {epoch} {text}"))
    return found


def is_finite(zoo: OpenZoo, run: Checked, epoch: int, record: Mapping[str, Any]) -> bool:
    """Whether there is a state with finite numbers: zoos that were made elsewhere lack some."""
    return not record["diverged"] and bool(zoo.weights.state(run.task.model, epoch).isfinite().all())


def is_of_state(zoo: OpenZoo, params: Mapping[str, Any], name: str, epoch: int) -> bool:
    """Whether metrics of a split's images are of the epoch's state, rather than of its training steps."""
    if name != "train":
        return True
    said = train_metrics({**zoo.config["protocol"], **params} if zoo.is_converted else params)
    return said == EXACT or (epoch == 0 and not zoo.is_converted)


def evaluated(
    zoo: OpenZoo, path: Path, model: nn.Module, splits: Mapping[str, Split], record: Mapping[str, Any]
) -> list[str]:
    """What a record says that is not so. Raises ZooError, which names the params.json at `path`, if the model of a zoo
    that was made elsewhere can't take its images."""
    some = [split.images[:1] for split in splits.values() if len(split)]
    try:
        batch = evaluation_batch(model, some[0]) if some else 1
        return list(differences(model, splits, record, batch, zoo.is_converted))
    except (RuntimeError, IndexError) as error:  # of other sizes, or of more classes
        if not zoo.is_converted:
            raise
        raise ZooError(f"the model of {path} does not take the images of {zoo.path} ({one_line(error)})") from error


@torch.inference_mode()
def differences(
    model: nn.Module, splits: Mapping[str, Split], record: Mapping[str, Any], batch: int, elsewhere: bool
) -> Iterator[str]:
    """What a record says of a model's state that is not so. `batch`: images at once.

    `elsewhere`: where the model was trained, not everything was measured.
    """
    for name, split in splits.items():
        loss, accuracy = evaluate(model, split, batch)
        recorded, recorded_loss = record[f"{name}_acc"], record[f"{name}_loss"]
        measured, measured_loss = (not elsewhere or value is not None for value in (recorded, recorded_loss))
        if measured and accuracy != recorded and not is_by_rounding(model, split, accuracy, recorded):
            yield f"{name}_acc {recorded}, but its state reaches {accuracy}"
        if measured_loss and not is_same_loss(loss, recorded_loss):
            yield f"{name}_loss {recorded_loss}, but that of its state is {loss}"


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

"""Which models of a zoo can be compared: those that have finite weights at the epoch that is looked at."""

import numpy as np
import pandas as pd
import torch

from zoo.analysis.outputs import States
from zoo.dataset.dataset import ZooDataset
from zoo.dataset.selection import BEST, LAST
from zoo.errors import ZooError

ROWS_AT_ONCE = 2**10


def viable(dataset: ZooDataset, epoch: int | str, max_weight: float | None = None) -> tuple[States, pd.DataFrame]:
    """The states of viable models at an epoch ("last": the end of training, "best": of each model's best validation
    accuracy), and a table of the models that are left out: id, node, reason.

    At "last", a model is left out that is not trained to the end, as in the paper; it can be looked at by its number.
    """
    models = dataset.models
    epochs = epochs_of(dataset, epoch)
    there = (epochs >= 0) & (epochs <= models["last_epoch"].to_numpy())
    reasons = np.where(there, "", f"has no state at epoch {epoch}").astype(object)
    if epoch in (LAST, BEST):
        reasons[(models["status"] == "unfinished").to_numpy()] = "unfinished"
    states = States(models["id"].to_numpy()[reasons == ""], epochs[reasons == ""])
    largest = largest_weights(dataset, states)
    reasons[states.models[~np.isfinite(largest)]] = "diverged: weights are not finite"
    if max_weight is not None:
        reasons[states.models[np.isfinite(largest) & (largest > max_weight)]] = f"has a |weight| above {max_weight:g}"
    left_out = models.loc[reasons != "", ["id", "node"]].assign(reason=reasons[reasons != ""])
    kept = reasons[states.models] == ""
    return states[kept], left_out.reset_index(drop=True)


def epochs_of(dataset: ZooDataset, epoch: int | str) -> np.ndarray:
    """The epoch [models] of each model; -1 if it has none such."""
    models = dataset.models
    if epoch in (LAST, BEST):
        return models[f"{epoch}_epoch"].fillna(-1).to_numpy(dtype=np.int64)
    last = dataset.mapped.shape[1] - 1
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not -last - 1 <= epoch <= last:
        raise ZooError(f"epoch={epoch!r}: give a number from 0 to {last}, -1 for the last, or {LAST} or {BEST}")
    return np.full(len(models), epoch % (last + 1), dtype=np.int64)


def largest_weights(dataset: ZooDataset, states: States) -> np.ndarray:
    """The largest |weight| [states] of each state; not finite if any is not."""
    parts = [states[start : start + ROWS_AT_ONCE] for start in range(0, len(states), ROWS_AT_ONCE)]
    found = [part.weights(dataset).abs().amax(1) for part in parts]
    return torch.cat(found).numpy() if found else np.empty(0)

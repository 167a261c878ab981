"""What a zoo's `train_loss` and `train_acc` are of: the key `train_metrics` of its protocol."""

from collections.abc import Mapping
from typing import Any

RUNNING = "running"  # the epoch's own training steps, each before its step, dropout and augmentation included
EXACT = "exact"  # the state in the checkpoint, as all other metrics, and as both are at epoch 0
CHOICES = (RUNNING, EXACT)
UNKNOWN = "unknown"  # in zoos of models that were trained elsewhere


def train_metrics(values: Mapping[str, Any]) -> Any:
    """What values by the names one types say; those that say nothing are of before there was a choice."""
    return values.get("train_metrics", EXACT)

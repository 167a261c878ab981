"""How many optimizer steps a training has."""

from collections.abc import Mapping
from typing import Any

from zoo.errors import ZooError


def batches_per_epoch(images: int, batch_size: int, limit: float | None = None) -> int:
    """Batches of `images` training images, the last of which may be smaller.

    `limit` (trainer.limit_train_batches): a whole number is the most there are, a fraction below 1 the share of them.
    """
    batches = -(-images // batch_size)
    if limit is None:
        return batches
    return min(limit, batches) if isinstance(limit, int) else int(limit * batches)


def total_steps(config: Mapping[str, Any]) -> int:
    """Optimizer steps of the whole training. Raises ZooError if the values that it follows from are no numbers."""
    counts = {
        "data.train": config["data"]["train"],
        "batch_size": config["batch_size"],
        "trainer.max_epochs": config["trainer"]["max_epochs"],
    }
    for key, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ZooError(f"{key}={value}: must be a whole number, 1 or more")
    limit = config["trainer"].get("limit_train_batches")
    if not isinstance(limit, int | float | None):
        raise ZooError(f"trainer.limit_train_batches={limit}: must be a number")
    return batches_per_epoch(counts["data.train"], counts["batch_size"], limit) * counts["trainer.max_epochs"]

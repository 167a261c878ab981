"""Model zoos: populations of neural networks, trained over a grid of hyperparameters.

`ZooDataset` loads one, `read_models` only its table of models. See README.md for the commands that make one.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.dataset.dataset import ZooDataset
    from zoo.dataset.remote import read_models
    from zoo.dataset.tasks import PropertyPrediction, Reconstruction, SequencePrediction

__all__ = ["PropertyPrediction", "Reconstruction", "SequencePrediction", "ZooDataset", "read_models"]

MODULES = {"ZooDataset": "zoo.dataset.dataset", "read_models": "zoo.dataset.remote"}
MODULES |= dict.fromkeys(["PropertyPrediction", "Reconstruction", "SequencePrediction"], "zoo.dataset.tasks")


def __getattr__(name: str) -> Any:
    """Import what is asked for: `import zoo` alone does not wait for PyTorch."""
    if name in MODULES:
        return getattr(importlib.import_module(MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Model zoos: populations of neural networks, trained over a grid of hyperparameters.

`ZooDataset` loads one. See README.md for the commands that make one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.dataset.dataset import ZooDataset

__all__ = ["ZooDataset"]


def __getattr__(name: str) -> Any:
    """Import what is asked for: `import zoo` alone does not wait for PyTorch."""
    if name == "ZooDataset":
        from zoo.dataset.dataset import ZooDataset

        return ZooDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

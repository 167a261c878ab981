"""Every file name in a sweep, a run and a zoo. No other module spells one."""

from pathlib import Path

# a sweep, and the zoo made from it


def config(folder: Path) -> Path:
    """The search pattern and the training protocol."""
    return folder / "config.json"


def images(folder: Path) -> Path:
    """The images as trained on."""
    return folder / "dataset.pt"


def nodes(folder: Path) -> Path:
    """The name of every node of the grid, one a line: what a complete sweep holds."""
    return folder / "nodes.txt"


# a run: a directory in a sweep, or in a zoo's models/


def params(run: Path) -> Path:
    """The node's exact hyperparameters."""
    return run / "params.json"


def result(run: Path) -> Path:
    """The record: one JSON object a line per epoch, from epoch 0."""
    return run / "result.json"


def checkpoint(run: Path, epoch: int) -> Path:
    """The bare state_dict after `epoch` epochs; epoch 0 is the initialisation."""
    return run / f"checkpoint_{epoch:06d}" / "checkpoints"


def optimizer(run: Path, epoch: int) -> Path:
    """What exact resumption from `epoch` needs beside the state; kept for the latest epoch only."""
    return run / f"checkpoint_{epoch:06d}" / "optimizer"


def hydra(run: Path) -> Path:
    """Hydra's own record of a run, written before it begins."""
    return run / ".hydra"

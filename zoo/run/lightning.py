"""PyTorch Lightning, which is imported in this module alone: without what it only would use if it were there.

Its torchmetrics imports SciPy, Matplotlib and torchvision where they are installed, for metrics of sound, images and
plots: half of the seconds that the import takes. PyTorch's counter of operations, which Lightning's summary of a model
uses, imports Triton to know its kernels. Training has no use for them, so they seem not to be installed meanwhile.
Anything else can import them as ever; but torchmetrics and that counter believe, in a process that trains, that they
aren't there.
"""

import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from unittest.mock import patch

import zoo.run.compiler  # noqa: F401  before Lightning, which imports the compiler

OPTIONAL = ("matplotlib", "scipy", "torchvision", "triton")
COUNTER = logging.getLogger("torch.utils.flop_counter")  # tells users that it misses Triton


class Absent:
    """A finder (see `sys.meta_path`) that finds nothing, in no other place either, of the packages given."""

    def __init__(self, *packages: str):
        self.packages = packages

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is left out of the import", name=name)
        return None


@contextmanager
def absent(*packages: str) -> Iterator[None]:
    """Let packages that aren't imported yet seem not to be installed."""
    hidden = [package for package in packages if package not in sys.modules]
    find_spec, distribution = importlib.util.find_spec, importlib.metadata.distribution

    def visible_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name.partition(".")[0] in hidden else find_spec(name, package)

    def visible_distribution(name: str) -> importlib.metadata.Distribution:
        if name in hidden:
            raise importlib.metadata.PackageNotFoundError(name)
        return distribution(name)

    with (
        patch("importlib.util.find_spec", visible_spec),
        patch("importlib.metadata.distribution", visible_distribution),
        patch("sys.meta_path", [Absent(*hidden), *sys.meta_path]),
    ):
        yield


with absent(*OPTIONAL), patch.object(COUNTER, "disabled", True):
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import Logger
    from pytorch_lightning.plugins.environments import LightningEnvironment
    from pytorch_lightning.profilers import Profiler

__all__ = ["LightningEnvironment", "Logger", "Profiler", "pl"]

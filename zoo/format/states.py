"""The states of a run as vectors: every file checked by its digest, and most read without unpickling them."""

from pathlib import Path

import numpy as np

from zoo.format.architecture import Architecture
from zoo.format.layout import Layout
from zoo.format.record import own_content, state_in


class StateReader:
    """Reads the states of runs, one run after another, each from epoch 0 on."""

    def __init__(self, architecture: Architecture):
        self.architecture = architecture
        self.variant = 0  # of the run
        self.layout: Layout | None = None  # that its first state has, often the same as the run's before

    def read(self, path: Path, epoch: int, digest: str | None) -> np.ndarray:
        """The vector [length] of a state. Raises ZooError or ValueError if it is damaged or of another variant."""
        return self.vector(path, own_content(path, digest), begins=not epoch)

    def vector(self, path: Path, content: bytes, begins: bool) -> np.ndarray:
        """The same of a file that was read before. `begins`: whether it is the first of its run."""
        if begins and not self.fits(content):
            self.variant = self.architecture.variant_of(state_in(path, content))
            self.layout = Layout.of(content, self.architecture, self.variant)
        if self.layout and self.fits(content):
            return self.layout.read(content)
        return self.architecture.flatten(state_in(path, content), self.variant).numpy()

    def fits(self, content: bytes) -> bool:
        return self.layout is not None and self.layout.fits(content)

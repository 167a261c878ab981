"""A progress bar for a whole sweep, whichever launcher runs it: read from the runs' own records."""

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from zoo import paths


class Progress:
    """While entered, shows how many of the runs' epochs are recorded."""

    def __init__(self, runs: Sequence[Path], epochs: int, interval: float = 1.0):
        """`epochs`: after which a run is finished. `interval`: seconds between two looks at the files."""
        self.left = {run: 0 for run in runs}
        self.epochs = epochs
        self.interval = interval
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> None:
        already = self.look()
        self.bar = tqdm(
            total=self.epochs * (len(self.left) + already // self.epochs), initial=already, unit="epoch", smoothing=0.05
        )
        self.thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop.set()
        self.thread.join()
        self.bar.update(self.look())
        self.bar.close()

    def watch(self) -> None:
        while not self.stop.wait(self.interval):
            self.bar.update(self.look())

    def look(self) -> int:
        """How many more epochs are recorded than at the last look."""
        new = 0
        for run, known in list(self.left.items()):
            try:
                lines = paths.result(run).read_bytes().count(b"\n")
            except FileNotFoundError:
                continue
            epoch = max(lines - 1, 0)
            new += epoch - known
            self.left[run] = epoch
            if epoch >= self.epochs:
                del self.left[run]
        return new

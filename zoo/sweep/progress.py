"""How far a sweep is, read from its runs' records: a display while it is trained, whoever trains it."""

import statistics
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from zoo.disk import paths
from zoo.run.record import is_complete, read_whole_records

LINE_EVERY = 10.0  # seconds between two lines where there is no terminal


class Tally:
    """Counts of a sweep's runs and epochs, and its models' accuracies, as of the last update from the files."""

    def __init__(self, runs: Mapping[Path, int], stop_diverged: bool = True):
        """`runs`: the run directories, each with the number of epochs after which it is done."""
        self.target = dict(runs)
        self.stop_diverged = stop_diverged
        self.seen: dict[Path, int] = {}  # modification times of the records
        self.epochs: dict[Path, int] = {}
        self.accuracy: dict[Path, float] = {}
        self.done: set[Path] = set()
        self.failed: set[Path] = set()
        self.damaged: set[Path] = set()  # with records that can't all be read: training goes on from those that can

    def update(self, runs: Iterable[Path]) -> None:
        """Read the records of these runs that changed since they were last looked at."""
        for run in runs:
            try:
                changed = paths.result(run).stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if changed == self.seen.get(run):
                continue
            records, damage = read_whole_records(run)
            self.seen[run] = changed
            self.epochs[run] = max(len(records) - 1, 0)
            (self.damaged.add if damage else self.damaged.discard)(run)
            if self.epochs[run]:  # an untrained model's accuracy says nothing about the sweep
                self.accuracy[run] = records[-1]["test_acc"]
            if damage or not is_complete(records, self.target[run], self.stop_diverged):
                self.done.discard(run)
                continue
            self.done.add(run)
            self.epochs[run] = self.target[run]  # a diverged model's other epochs are not to come

    @property
    def total_epochs(self) -> int:
        return sum(self.target.values())

    @property
    def trained_epochs(self) -> int:
        return sum(self.epochs.values())

    def text(self) -> str:
        """Runs done, failed and left, best and median accuracy."""
        left = len(self.target) - len(self.done) - len(self.failed)
        text = f"{len(self.done)} runs done, {len(self.failed)} failed, {left} left"
        if self.accuracy:
            best, median = max(self.accuracy.values()), statistics.median(self.accuracy.values())
            text += f", test accuracy best {best:.1%}, median {median:.1%}"
        return text

    def line(self, rate: float) -> str:
        """All that is known, in one line; `rate` in epochs per second."""
        trained, total = self.trained_epochs, self.total_epochs
        parts = [f"{trained}/{total} epochs", f"{rate:.2g} epochs/s" if rate else ""]
        parts += [f"{tqdm.format_interval((total - trained) / rate)} left" if rate and trained < total else ""]
        return ", ".join(part for part in [*parts, self.text()] if part)


class Progress:
    """While entered, shows a tally: a bar on a terminal, a plain line now and then elsewhere."""

    def __init__(self, tally: Tally, interval: float = 0.5):
        """`interval`: seconds between two looks at the files of the runs in `running`, which others may change."""
        self.tally = tally
        self.interval = interval
        self.running: set[Path] = set()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self) -> "Progress":
        self.began, self.before = time.monotonic(), self.tally.trained_epochs
        self.next_line = self.began
        self.bar = tqdm(
            total=self.tally.total_epochs,
            initial=self.before,
            unit="epoch",
            smoothing=0.05,
            disable=not sys.stderr.isatty(),
            bar_format="{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} epochs, {rate_fmt}, {remaining} left, {desc}",
        )
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self.thread.join()
        self.show(last=True)
        self.bar.close()

    def watch(self) -> None:
        wait = self.interval
        while not self.stop.wait(wait):
            began = time.monotonic()
            self.show()
            # a slow file system is not to be kept busy by looking
            wait = max(self.interval, 10 * (time.monotonic() - began))

    def show(self, last: bool = False) -> None:
        self.tally.update(list(self.running))
        if not self.bar.disable:
            self.bar.set_description_str(self.tally.text(), refresh=False)
            self.bar.update(self.tally.trained_epochs - self.bar.n)
            self.bar.refresh()
        elif last or time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + LINE_EVERY
            print(self.line(), file=sys.stderr, flush=True)

    def line(self) -> str:
        rate = (self.tally.trained_epochs - self.before) / max(time.monotonic() - self.began, 1e-9)
        return self.tally.line(rate)

"""How far a sweep is, read from its runs' records: a display while it is trained, whoever trains it."""

import statistics
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from zoo.disk import paths
from zoo.format.record import STEP_SECONDS, read_whole_records
from zoo.run.record import is_complete

LEAST_BAR = 10  # characters
LINE_EVERY = 10.0  # seconds between two lines where there is no terminal


class Tally:
    """Counts of a sweep's runs and epochs, and its models' accuracies, as of the last update from the files."""

    def __init__(self, runs: Mapping[Path, int], stop_diverged: bool = True):
        """`runs`: the run directories, each with the number of epochs after which it is done."""
        self.target = dict(runs)
        self.stop_diverged = stop_diverged
        self.seen: dict[Path, tuple[int, int]] = {}  # sizes and modification times of the records
        self.epochs: dict[Path, int] = {}
        self.step_seconds: dict[Path, float] = {}  # of all epochs, as far as records have them
        self.share: float | None = None  # of the processes' time, what training steps took; where it is known
        self.accuracy: dict[Path, float] = {}  # on the test images; where there are none, on the validation images
        self.measured = "test"
        self.done: set[Path] = set()
        self.failed: set[Path] = set()
        self.damaged: set[Path] = set()  # with records that can't all be read: training goes on from those that can

    def update(self, runs: Iterable[Path]) -> None:
        """Read the records of these runs that changed since they were last looked at."""
        for run in runs:
            try:
                status = paths.result(run).stat()
            except FileNotFoundError:
                continue
            seen = status.st_size, status.st_mtime_ns
            if seen == self.seen.get(run):
                continue
            records, damage = read_whole_records(run)
            self.seen[run] = seen
            self.epochs[run] = max(len(records) - 1, 0)
            self.step_seconds[run] = sum(record.get(STEP_SECONDS, 0.0) for record in records)
            (self.damaged.add if damage else self.damaged.discard)(run)
            if self.epochs[run]:  # an untrained model's accuracy says nothing about the sweep
                self.measure(run, records[-1])
            if damage or not is_complete(records, self.target[run], self.stop_diverged):
                self.done.discard(run)
                continue
            self.done.add(run)
            self.epochs[run] = self.target[run]  # a diverged model's other epochs are not to come

    def measure(self, run: Path, record: Mapping[str, Any]) -> None:
        for split, name in (("test", "test"), ("val", "validation"), ("train", "training")):
            if record[f"{split}_acc"] is not None:
                self.accuracy[run], self.measured = record[f"{split}_acc"], name
                return

    @property
    def total_epochs(self) -> int:
        return sum(self.target.values())

    @property
    def trained_epochs(self) -> int:
        return sum(self.epochs.values())

    @property
    def trained_seconds(self) -> float:
        return sum(self.step_seconds.values())

    def text(self) -> str:
        """Runs done, failed and left, best and median accuracy."""
        left = len(self.target) - len(self.done) - len(self.failed)
        text = f"{len(self.done)} runs done, {len(self.failed)} failed, {left} left"
        return f"{text}, {self.accuracy_text()}" if self.accuracy else text

    def accuracy_text(self) -> str:
        """The best and the median accuracy; of a single run, its own."""
        if not self.accuracy:
            return "not trained"
        best, median = max(self.accuracy.values()), statistics.median(self.accuracy.values())
        if len(self.target) == 1:
            return f"{self.measured} accuracy {best:.1%}"
        return f"{self.measured} accuracy best {best:.1%}, median {median:.1%}"

    def short_text(self) -> str:
        best = f", best {max(self.accuracy.values()):.1%}" if self.accuracy else ""
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"{len(self.done)}/{len(self.target)} runs{failed}{best}"

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
            dynamic_ncols=True,
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
            self.bar.bar_format = bar_format(self.bar, self.tally)
            self.bar.update(self.tally.trained_epochs - self.bar.n)
            self.bar.refresh()
        elif last or time.monotonic() >= self.next_line:
            self.next_line = time.monotonic() + LINE_EVERY
            print(self.line(), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line above the bar."""
        tqdm.write(text, file=sys.stderr)

    def line(self) -> str:
        trained = self.tally.trained_epochs - self.before  # fewer than before, when a damaged run begins again
        return self.tally.line(max(trained, 0) / max(time.monotonic() - self.began, 1e-9))


def bar_format(bar: "tqdm[Any]", tally: Tally) -> str:
    """The most that the terminal has room for, beside a bar that one can still read."""
    epochs = "{n_fmt}/{total_fmt} epochs"
    tails = [
        f" {epochs}, {{rate_fmt}}, {{remaining}} left, {tally.text()}",
        f" {epochs}, {{remaining}} left, {tally.accuracy_text()}",
        f" {epochs}, {{remaining}} left, {tally.short_text()}",
        f" {{remaining}} left, {tally.short_text()}",
        f" {tally.short_text()}",
        "",
    ]
    head = "{percentage:3.0f}% |"
    for tail in tails:
        around = bar.format_meter(**{**bar.format_dict, "ncols": None, "bar_format": f"{head}|{tail}"})
        if len(around) + LEAST_BAR <= (bar.ncols or sys.maxsize):
            break
    return f"{head}{{bar}}|{tail}"

"""Workers on this machine: joblib's loky processes, one executor each, so that a death is its own task's alone."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from joblib.externals.loky import ProcessPoolExecutor

from zoo.launch.worker import Outcome, begin, import_training
from zoo.node.node import Node
from zoo.processes import executor_of, interrupts_ignored


class LocalWorkers:
    """As many processes as are asked for, each with one compute thread."""

    def __init__(self, processes: int):
        self.processes = processes
        self.idle = [start() for _ in range(processes)]
        self.busy: dict[Future, ProcessPoolExecutor] = {}

    def limit(self, most: int) -> None:
        """End those that there is nothing to do for."""
        while len(self.idle) > most:
            give_up(self.idle.pop())
        self.processes = min(self.processes, most)

    def grow(self, least: int) -> None:
        """Start those that are missing."""
        self.idle += [start() for _ in range(least - self.processes)]
        self.processes = max(self.processes, least)

    def capacity(self) -> int:
        return len(self.idle)

    def submit(self, function: Callable[[Sequence[Node]], list[Outcome]], nodes: Sequence[Node]) -> Future:
        executor = self.idle.pop()
        try:
            future = executor.submit(function, nodes)
        except RuntimeError:  # its process died while it had nothing to do
            give_up(executor)
            self.idle.append(start())
            return self.submit(function, nodes)
        self.busy[future] = executor
        return future

    def ended(self, future: Future) -> None:
        executor = self.busy.pop(future)
        if future.exception():  # loky gives up an executor whose process died
            give_up(executor)
            executor = start()
        self.idle.append(executor)

    def stop(self) -> None:
        for executor in [*self.idle, *self.busy.values()]:
            give_up(executor)
        self.idle, self.busy = [], {}


def give_up(executor: ProcessPoolExecutor) -> None:
    executor.shutdown(wait=False, kill_workers=True)


def start() -> ProcessPoolExecutor:
    with interrupts_ignored():  # until the process does so by itself
        executor = executor_of(1, begin)
        executor.submit(import_training)
    return executor

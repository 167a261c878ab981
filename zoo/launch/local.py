"""Workers on this machine: processes of their own, so that a death is its own task's alone."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from unittest.mock import patch

from zoo.launch.worker import Outcome, begin
from zoo.node.node import Node
from zoo.processes import ONE_THREAD, interrupts_ignored

TRAINING = ("zoo.run.run",)  # what takes seconds to import
DYING = 5.0  # seconds that a process may take to end after it has closed its connection

Function = Callable[[Sequence[Node]], list[Outcome]]


class ProcessDied(Exception):
    """A worker process ended without an answer."""


def prepare(forking: bool) -> None:
    """Begin what new workers wait for: the import, in one process, of which they are copies that share its memory.

    forking: whether they may be copies. Not where they use a GPU, whose driver does not survive it, nor on macOS,
    whose libraries don't.
    """
    if forking:
        multiprocessing.set_forkserver_preload(list(TRAINING))
        with to_be_inherited():
            forkserver.ensure_running()


def can_fork(accelerator: str) -> bool:
    return accelerator == "cpu" and sys.platform == "linux"


@contextmanager
def to_be_inherited() -> Iterator[None]:
    """What a process that is started in this context has from the first moment: one compute thread, no Ctrl-C."""
    with interrupts_ignored(), patch.dict(os.environ, ONE_THREAD):
        yield


class LocalWorkers:
    """As many processes as are asked for, each with one compute thread."""

    def __init__(self, processes: int, forking: bool = True):
        """`forking` see `prepare`."""
        self.processes = processes
        self.forking = forking
        prepare(forking)
        self.idle = [WorkerProcess(forking) for _ in range(processes)]
        self.busy: dict[Future, WorkerProcess] = {}

    def limit(self, most: int) -> None:
        """End those that there is nothing to do for."""
        while len(self.idle) > most:
            self.idle.pop().kill()
        self.processes = min(self.processes, most)

    def grow(self, least: int) -> None:
        """Start those that are missing."""
        self.idle += [WorkerProcess(self.forking) for _ in range(least - self.processes)]
        self.processes = max(self.processes, least)

    def capacity(self) -> int:
        return len(self.idle)

    def submit(self, function: Function, nodes: Sequence[Node]) -> Future:
        worker = self.idle.pop()
        if worker.has_died():  # while it had nothing to do
            worker = WorkerProcess(self.forking)
        future = worker.submit(function, nodes)
        self.busy[future] = worker
        return future

    def ended(self, future: Future) -> None:
        worker = self.busy.pop(future)
        if future.exception():
            worker.kill()
            worker = WorkerProcess(self.forking)
        self.idle.append(worker)

    def stop(self) -> None:
        for worker in [*self.idle, *self.busy.values()]:
            worker.kill()
        self.idle, self.busy = [], {}


class WorkerProcess:
    """A process that does one task after the other."""

    def __init__(self, forking: bool):
        context = multiprocessing.get_context("forkserver") if forking else multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,))
        self.killed = False
        # a copy is there only when the import is done, and this process has to do meanwhile
        self.starting = threading.Thread(target=self.start, args=(theirs,), daemon=True)
        if forking:
            self.starting.start()
        else:
            with to_be_inherited():
                self.starting.run()

    def start(self, theirs: Connection) -> None:
        self.process.start()
        theirs.close()
        if self.killed:
            self.process.kill()

    def submit(self, function: Function, nodes: Sequence[Node]) -> Future:
        future: Future = Future()
        threading.Thread(target=self.answer, args=(future, function, nodes), daemon=True).start()
        return future

    def answer(self, future: Future, function: Function, nodes: Sequence[Node]) -> None:
        try:
            self.wait_for_start()
            self.connection.send((function, nodes))
            future.set_result(self.connection.recv())
        except (EOFError, OSError):
            future.set_exception(ProcessDied(self.end()))
        except BaseException as error:  # such as what can't be pickled
            future.set_exception(error)

    def wait_for_start(self) -> None:
        if self.starting.ident:
            self.starting.join()

    def has_died(self) -> bool:
        return not self.starting.is_alive() and self.process.exitcode is not None

    def kill(self) -> None:
        self.killed = True
        if not self.starting.is_alive():
            self.process.kill()
            self.process.join(DYING)

    def end(self) -> str:
        """Kill it if it is alive after a while. Returns how it ended."""
        self.process.join(DYING)
        self.process.kill()
        self.process.join(DYING)
        return ending(self.process.exitcode or 0)


def ending(code: int) -> str:
    """How a process with this exit code ended, which is minus the signal's number where that ended it."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def serve(connection: Connection) -> None:
    """The life of a worker process."""
    begin(os.getppid())
    with suppress(EOFError):
        while True:
            function, nodes = connection.recv()
            connection.send(function(nodes))

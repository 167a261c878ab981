"""Worker processes of a command on this machine: they leave Ctrl-C to it, and don't outlive it."""

import contextlib
import functools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.backend import get_context
from joblib.externals.loky.process_executor import BrokenProcessPool

from zoo.errors import ZooError

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
AHEAD = 2  # tasks that are given to each process: one that it works on, one that it goes on with

Task = TypeVar("Task")
Result = TypeVar("Result")


@contextlib.contextmanager
def mapping(job: Callable[[Task], Result], count: int) -> Iterator[Callable[[Iterable[Task]], Iterator[Result]]]:
    """Yields a function that does the job for every task, in so many processes, or in this one.

    Each process has one compute thread. Results come in the order of the tasks, few of which are begun before their
    turn. What a job raises is raised where its result would come. At the end of the block, however that comes, the
    processes are gone.
    """
    if count < 2:
        yield functools.partial(map, job)
        return
    with interrupts_ignored():
        # the job goes with the initializer, too: loky takes it for a leak if what it imports fills memory later on
        executor = ProcessPoolExecutor(
            count,
            context=get_context("loky"),
            initializer=functools.partial(prepare, job),
            initargs=(os.getpid(),),
            env=ONE_THREAD,
        )
        executor.submit(int)  # starts them all
    try:
        yield lambda tasks: in_order(executor, job, tasks, AHEAD * count)
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def prepare(job: Callable[[Task], Result], launcher: int) -> None:
    """Begin as a worker process that is to do the job."""
    leave_interrupts(launcher)


def in_order(
    executor: ProcessPoolExecutor, job: Callable[[Task], Result], tasks: Iterable[Task], most: int
) -> Iterator[Result]:
    """At most so many tasks are under way, or wait for their results to be taken."""
    begun: deque[Any] = deque()
    try:
        for task in tasks:
            if len(begun) == most:
                yield begun.popleft().result()
            begun.append(executor.submit(job, task))
        while begun:
            yield begun.popleft().result()
    except BrokenProcessPool as error:
        raise ZooError(
            "a worker process was ended, by the system for lack of memory or by hand: the same command begins again"
        ) from error


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """For processes that are started meanwhile: they inherit it. (Only a main thread is interrupted by Ctrl-C.)"""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def leave_interrupts(launcher: int) -> None:
    """Let this process, which the one with this id started, leave Ctrl-C to that, and end when that does."""
    # Ctrl-C reaches every process of the terminal; it is the launcher that ends its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(launcher,), daemon=True).start()


def end_with(launcher: int) -> None:
    """A worker whose launcher was killed must not go on beside the workers of the next one."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)

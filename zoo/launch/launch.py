"""Train the nodes of a grid on many workers, so that nothing one run does hurts another, and nothing is lost."""

import queue
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zoo.disk import paths
from zoo.errors import ZooError
from zoo.installation import command
from zoo.launch.interrupt import interruptible
from zoo.launch.packing import notice, pack
from zoo.launch.worker import Outcome, work, write_error, write_pack_error
from zoo.node.node import Node
from zoo.run.record import claim
from zoo.run.resumption import finish
from zoo.sweep.progress import Progress, Tally


@dataclass
class Task:
    """What is sent to a worker at once. `deaths`: how often a worker died of it, or of a task it was part of."""

    nodes: Sequence[Node]
    deaths: int = 0


class Workers(Protocol):
    """Processes somewhere that share the sweep's folder."""

    @property
    def processes(self) -> int:
        """How many there are, or will be."""

    def capacity(self) -> int:
        """How many more tasks can be sent now."""

    def submit(self, function: Callable[[Sequence[Node]], list[Outcome]], nodes: Sequence[Node]) -> Future:
        """Send a task; its future ends with the outcomes, or an exception if the worker died."""

    def ended(self, future: Future) -> None:
        """A task has ended: its worker can have another."""

    def stop(self) -> None:
        """End all workers at once."""


def launch(nodes: Sequence[Node], workers_for: Callable[[int], Workers], pack_size: int | None = None) -> Tally:
    """Train every node that is not finished; returns the tally of all when all are, without failures.

    `workers_for` is called with the number of runs to train, if there are any, and whoever starts workers there is to
    stop them, however this ends; `pack_size` see zoo.launch.packing.
    Raises SystemExit: 1 after a table of failures, 130 when interrupted, having said how to go on; ZooError if a run
    directory holds another config, or the storage fails.
    """
    unfinished = [node for node in nodes if not is_trained(node)]
    tally = tally_of(nodes)
    if not unfinished:
        return tally
    if text := notice(unfinished):
        print(text, file=sys.stderr)
    began, before = time.monotonic(), tally.trained_seconds
    with interruptible(tally.text):
        workers = workers_for(len(unfinished))
        tasks = [Task(nodes) for nodes in pack(unfinished, workers.processes, pack_size)]
        failures = train_tasks(tasks, workers, tally)
    tally.share = (tally.trained_seconds - before) / (workers.processes * (time.monotonic() - began))
    if failures:
        print(
            f"\n{len(failures)} of {len(tally.target)} runs failed; the same command again tries them once more:",
            file=sys.stderr,
        )
        for run, reason in sorted(failures.items()):
            print(f"  {run.name}\n    {reason}\n    {paths.error(run)}", file=sys.stderr)
        raise SystemExit(1)
    return tally


def whats_next(nodes: Sequence[Node], tally: Tally) -> str:
    """What is there, how much of the time training steps took, and how to make a zoo of it."""
    sweeps = dict.fromkeys(node.sweep for node in nodes)
    commands = " and ".join(f"`{command('analyze')} sweep={sweep}`" for sweep in sweeps)
    share = f", {tally.share:.0%} of the processes' time in training steps" if tally.share else ""
    return f"{tally.text()}{share}. {commands} makes a zoo of them."


def tally_of(nodes: Sequence[Node]) -> Tally:
    tally = Tally({node.run: node.max_epochs for node in nodes}, all(node.config["stop_diverged"] for node in nodes))
    tally.update(list(tally.target))
    return tally


def is_trained(node: Node) -> bool:
    """Whether the node has nothing left to train. Raises ZooError if its directory holds another config."""
    if not paths.params(node.run).exists():
        return False
    claim(node)
    return finish(node)


def train_tasks(tasks: Sequence[Task], workers: Workers, tally: Tally) -> dict[Path, str]:
    """Have the workers do all tasks. Returns the runs that failed, and why."""
    waiting = deque(tasks)
    running: dict[Future, Task] = {}
    ended: queue.SimpleQueue[Future] = queue.SimpleQueue()
    failures: dict[Path, str] = {}
    with Progress(tally) as progress:
        while waiting or running:
            while waiting and workers.capacity():
                task = waiting.popleft()
                progress.running |= {node.run for node in task.nodes}
                future = workers.submit(work, task.nodes)
                running[future] = task
                future.add_done_callback(ended.put)
            future = ended.get()
            task = running.pop(future)
            workers.ended(future)
            progress.running -= {node.run for node in task.nodes}
            tally.update(node.run for node in task.nodes)
            death = future.exception()
            outcomes = after_death(task, death, waiting) if death else future.result()
            if len(task.nodes) > 1 and (reason := describe(death) if death else outcomes[0].pack_error):
                progress.say(failed_together(task.nodes, reason))
            for outcome in outcomes:
                if outcome.damage:
                    progress.say(f"{outcome.run} {outcome.damage}")
                if outcome.storage:
                    raise ZooError(f"{outcome.error} (in {outcome.run}); the same command again goes on from there")
                if outcome.error:
                    failures[outcome.run] = outcome.error
                    tally.failed.add(outcome.run)
    return failures


def failed_together(nodes: Sequence[Node], reason: str) -> str:
    return f"{len(nodes)} models failed together, so each is trained alone: {reason} ({paths.pack_error(nodes[0].run)})"


def describe(death: BaseException) -> str:
    return " ".join(str(death).split())


def after_death(task: Task, death: BaseException, waiting: deque[Task]) -> list[Outcome]:
    """Once, give each run of a task whose worker died another chance, by itself; then it has failed."""
    reason = describe(death)
    if task.deaths == 0:
        if len(task.nodes) > 1:
            write_pack_error(task.nodes, f"The worker process died: {reason}")
        waiting.extendleft(Task([node], deaths=1) for node in reversed(task.nodes))
        return []
    for node in task.nodes:
        write_error(node.run, f"The worker process died, twice: {reason}")
    return [Outcome(node.run, f"its worker process died, twice: {reason}") for node in task.nodes]

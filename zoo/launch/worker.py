"""What a worker process does: train the runs of a task, each for itself, and report."""

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import OmegaConf

from zoo.disk import files, locks, paths
from zoo.node.node import Node
from zoo.run.resumption import tell

LOG_TAIL = 20_000  # characters of the log repeated in error.txt


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `error` is a line that says why it failed, None if it is finished."""

    run: Path
    error: str | None = None
    storage: bool = False  # whether the error is the storage's, which no other run would escape either
    pack_error: str | None = None  # why the pack it was in failed, before it was trained alone
    damage: str | None = None  # what of its files was damaged, and from where it went on


def work(nodes: Sequence[Node], patience: float = locks.PATIENCE) -> list[Outcome]:
    """Train the nodes, together if the engine can. What one run raises is an outcome, and ends no other.

    Seeding, thread counts and output belong to the whole process: it must do nothing else meanwhile. `patience`:
    seconds to wait for a run that another process trains, such as a worker whose launcher was just killed.
    """
    runs = [node.run for node in nodes]
    damage: dict[Path, str] = {}

    def note(run: Path, what: str) -> None:
        tell(run, what)
        damage[run] = what

    try:
        with ExitStack() as held:
            for run in sorted(runs):  # in the same order everywhere, or two processes could wait for each other
                held.enter_context(locks.locked(paths.lock(run), patience))
            held.enter_context(output_to(paths.log(runs[0])))
            for node in nodes:
                files.remove_leftovers(node.run)
                paths.error(node.run).unlink(missing_ok=True)
                write_hydra_record(node)
            from zoo.run.run import train  # takes seconds, and launchers import this module too

            train(nodes, paths.images(nodes[0].sweep), note)
    except BaseException as error:  # SystemExit and the like too: a run must not end its worker
        storage = files.is_storage(error)
        summary = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        if len(nodes) > 1 and not storage:  # only one of them may be to blame
            write_pack_error(nodes, traceback.format_exc())
            left = locks.MOMENT if isinstance(error, locks.Held) else patience
            alone = [outcome for node in nodes for outcome in work([node], left)]
            return [replace(o, pack_error=summary, damage=o.damage or damage.get(o.run)) for o in alone]
        if storage:
            summary += ". Make room, or make the folder writable"
        for run in runs:
            write_error(run, traceback.format_exc())
        return [Outcome(run, summary, storage, damage=damage.get(run)) for run in runs]
    return [Outcome(run, damage=damage.get(run)) for run in runs]


def write_hydra_record(node: Node) -> None:
    """As Hydra does for a single run: the composed config, and what was typed for it."""
    folder = paths.hydra(node.run)
    files.write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(node.config))))
    files.write_text(folder / "overrides.yaml", OmegaConf.to_yaml(OmegaConf.create(list(node.overrides))))


def write_error(run: Path, reason: str) -> None:
    """error.txt: why the run failed."""
    write_reason(paths.error(run), run, reason)


def write_pack_error(nodes: Sequence[Node], reason: str) -> None:
    """pack_error.txt, in the first node's run: why the pack failed, before its nodes are trained one by one."""
    first = nodes[0].run
    names = "\n".join(node.name for node in nodes)
    write_reason(paths.pack_error(first), first, f"{reason.rstrip()}\n\ntrained together:\n{names}")


def write_reason(path: Path, run: Path, reason: str) -> None:
    """The reason, and the end of the run's log. Where even that can't be written, the launcher tells."""
    with suppress(OSError):
        log = paths.log(run).read_text(errors="replace")[-LOG_TAIL:] if paths.log(run).exists() else ""
        files.write_text(path, reason.rstrip() + (f"\n\nlog:\n{log}" if log else "") + "\n")


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Send what the process prints to a file, also from below Python; an empty one is not kept."""
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with files.open_emptied(log) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(before[0], 1)
            os.dup2(before[1], 2)
            os.close(before[0])
            os.close(before[1])
    if log.stat().st_size == 0:
        log.unlink()


def begin(launcher: int) -> None:
    """Prepare a worker process of the launcher with this process id, on the same machine."""
    # Ctrl-C reaches every process of the terminal; it is the launcher that ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, die)
    faulthandler.enable(2)
    threading.Thread(target=end_with, args=(launcher,), daemon=True).start()


def die(number: int, _: object) -> None:
    """End by the signal. Lightning, where nobody handles it, would end the training as if it were finished."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def end_with(launcher: int) -> None:
    """A worker whose launcher was killed must not go on beside the workers of the next one."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)

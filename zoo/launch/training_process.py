"""On a Dask worker: a process for each of its threads, which trains what the thread is sent.

So the Dask worker outlives whatever a run does to its process, and ends those that nobody waits for.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from distributed import Reschedule, Status, Worker, get_worker

from zoo.launch.local import DYING, ProcessDied, ending
from zoo.launch.worker import Outcome, begin
from zoo.node.node import Node
from zoo.processes import ONE_THREAD

LOOK_EVERY = 0.5  # seconds between two looks at whether a run is still wanted
IDLE = 60.0  # seconds without work after which a training process ends
ENDED_IDLE = "exit code 0"

Function = Callable[[Sequence[Node]], list[Outcome]]


def train(folder: Path, function: Function, nodes: Sequence[Node]) -> list[Outcome]:
    """Call the function in a training process, in the launcher's working directory, from where paths count.

    Raises ProcessDied if that process dies, Reschedule when the task is cancelled or the Dask worker is closed.
    """
    sweep = folder / nodes[0].sweep
    if not sweep.is_dir():
        reason = f"{sweep} is not to be seen on {socket.gethostname()}: all machines must share it under this path"
        return [Outcome(nodes[0].run, reason, storage=True)]
    worker = get_worker()
    key = str(worker.get_current_task())
    while True:
        training, is_new = idle_or_new()
        try:
            training.connection.send((folder, function, nodes))
            while not training.connection.poll(LOOK_EVERY):
                if not is_wanted(worker, key):
                    training.end()
                    raise Reschedule
            outcomes = training.connection.recv()
        except (EOFError, ConnectionError) as error:
            how = training.end(DYING)
            if how == ENDED_IDLE and not is_new:  # before it saw the task, which is not to blame
                continue
            raise ProcessDied(f"{how} on {socket.gethostname()}") from error
        idle.append(training)
        return outcomes


def is_wanted(worker: Worker, key: str) -> bool:
    task = worker.state.tasks.get(key)  # a cancelled one is kept there until its thread returns
    return task is not None and task.state == "executing" and worker.status not in (Status.closing, Status.closed)


class TrainingProcess:
    """A training process of this Dask worker, with one compute thread."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        # or PyTorch Lightning would take the tasks of a Slurm job for processes of one training
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zoo.launch.training_process", str(theirs.fileno())],
            env={**inherited, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def end(self, patience: float = 0.0) -> str:
        """Kill it if it is alive after so many seconds. Returns how it ended."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.process.kill()
        self.connection.close()
        return ending(self.process.wait())


idle: list[TrainingProcess] = []  # kept, because importing PyTorch takes seconds


def idle_or_new() -> tuple[TrainingProcess, bool]:
    """A training process, and whether it is a new one."""
    with suppress(IndexError):
        while (training := idle.pop()).process.poll() is not None:
            pass
        return training, False
    return TrainingProcess(), True


def main() -> None:
    """The life of a training process."""
    begin(os.getppid())
    # batch systems send it to every process of a job: the Dask worker first reports that it leaves. Blocked, for
    # where it is ignored, Lightning would handle it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    connection = Connection(int(sys.argv[1]))
    with suppress(EOFError):
        while connection.poll(IDLE):
            folder, function, nodes = connection.recv()
            os.chdir(folder)
            connection.send(function(nodes))


if __name__ == "__main__":
    main()

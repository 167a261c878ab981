"""Tasks for workers that train nothing, in a module that takes no time to import."""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from zoo.disk import files, paths
from zoo.format.record import LOSSES, SECONDS
from zoo.launch.worker import Outcome
from zoo.node.node import Node


def tell_process(nodes: Sequence[Node]) -> list[Outcome]:
    """The outcome's error is the id of the process that the task is done in."""
    return [Outcome(nodes[0].run, str(os.getpid()))]


def die(nodes: Sequence[Node]) -> list[Outcome]:
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def go_on_forever(nodes: Sequence[Node]) -> list[Outcome]:
    """The run's log is the id of the process."""
    run = nodes[0].run
    run.mkdir(exist_ok=True)
    paths.log(run).write_text(str(os.getpid()))
    time.sleep(600)
    return []


def write_records(run: Path, epochs: int, accuracy: Mapping[str, float | None]) -> None:
    others = {"diverged": False, **dict.fromkeys(LOSSES, 1.0), **dict.fromkeys(SECONDS, 0.1), **accuracy}
    records = [{"training_iteration": epoch, **others} for epoch in range(epochs + 1)]
    files.write_text(paths.result(run), "".join(json.dumps(record) + "\n" for record in records))


def pretend(nodes: Sequence[Node]) -> list[Outcome]:
    """Leave the records of finished runs, by the seed's accuracies, and as their log the id of the process."""
    for node in nodes:
        accuracy = {"train_acc": 0.5, "val_acc": node.seed / 10, "test_acc": node.seed / 100}
        write_records(node.run, node.max_epochs, accuracy)
        files.write_text(paths.log(node.run), str(os.getpid()))
    return [Outcome(node.run) for node in nodes]

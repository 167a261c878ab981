"""Tasks for workers that train nothing, in a module that takes no time to import."""

import os
import signal
import time
from collections.abc import Sequence

from zoo.disk import paths
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

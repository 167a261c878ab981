"""log.txt of a sweep: each command that trained in it, when it began, and how it ended."""

import getpass
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from zoo.disk import files, paths


@contextmanager
def logged(sweep: Path, command: Sequence[str], nodes: int) -> Iterator[None]:
    """Write a line when the block is entered and one when it is left."""
    note(sweep, f"began {nodes} nodes on {socket.gethostname()} as {user()}: {' '.join(command)}")
    try:
        yield
    except BaseException as error:
        with suppress(OSError):  # it may be the full disk that ends it
            note(sweep, f"ended by {type(error).__name__} {' '.join(str(error).split())}".rstrip())
        raise
    note(sweep, "done")


def note(sweep: Path, text: str) -> None:
    files.append(paths.log(sweep), f"{datetime.now().astimezone().isoformat(timespec='seconds')} {text}\n")


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a process without a user's name, as in some containers
        return "unknown"

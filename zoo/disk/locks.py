"""Locks between processes, on this machine and, where the file system carries them, on others."""

import errno
import fcntl
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.disk.files import open_itself
from zoo.errors import ZooError

MOMENT = 0.2  # seconds; whoever only looks whether a lock is held has it for less
PATIENCE = 60.0  # seconds for which to wait for a process that should end by itself
SAY_AFTER = 3.0  # seconds of waiting before a line says so
INTERVAL = 0.05  # seconds between two tries
# some cluster file systems have no locks: better to train without than not at all (docs/scaling.md)
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class Held(ZooError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, patience: float = MOMENT) -> Iterator[None]:
    """Hold the lock file `path`, which the system releases however its holder ends.

    Raises Held, which names the holder, if another process has it for `patience` seconds from now; a line on stderr
    says so before, where that is long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = take(path, patience)
    try:
        yield
    finally:
        os.close(descriptor)


def take(path: Path, patience: float) -> int:
    """The descriptor of the file, locked: the lock lasts until it is closed."""
    began, said = time.monotonic(), False
    while (descriptor := try_to_take(path)) is None:
        waited = time.monotonic() - began
        if waited >= patience:
            raise Held(f"another process holds {path} ({holder(path)}): wait until it has ended, or end it")
        if waited >= SAY_AFTER and not said:
            said = True
            print(f"waiting for {path}, which another process holds ({holder(path)})", file=sys.stderr, flush=True)
        time.sleep(INTERVAL)
    with suppress(OSError):  # a full disk; the name is only for those who wait
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}@{socket.gethostname()}\n".encode())
    return descriptor


def try_to_take(path: Path) -> int | None:
    descriptor = open_itself(path, os.O_RDWR)
    # its last holder may have removed the file since we opened it, and others can lock a new one of that name
    if flock(descriptor, fcntl.LOCK_EX) and is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def flock(descriptor: int, kind: int) -> bool:
    """Whether the file could be locked at once, or its file system has no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True


def is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Whether a process holds the lock; one on another machine counts where the file system carries locks.

    Nothing is written, any number of processes can look at once, and who wants the lock waits for that moment.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        return not flock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def holder(path: Path) -> str:
    """Who wrote its name into the lock file last."""
    with suppress(OSError):
        if match := re.match(r"(\d+)@([\w.-]+)\n", path.read_text(errors="replace")):
            return f"process {match[1]} on {match[2]}"
    return "process unknown"

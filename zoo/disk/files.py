"""Files that appear whole or not at all: written under a temporary name, flushed to disk, then renamed."""

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from zoo.errors import ZooError

# How the system says that it is the storage that fails, and not what is stored.
STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}


def write(path: Path, save: Callable[[BinaryIO], Any]) -> None:
    """Let `save` write to a temporary file beside `path`, then rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    write(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_torch(path: Path, value: Any) -> None:
    import torch  # takes seconds, and most of this module has no use for it

    write(path, lambda file: torch.save(value, file))


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name, without its bytes again where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        with source.open("rb") as file:
            write(target, lambda copy: shutil.copyfileobj(file, copy))


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in `folder`."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def append(path: Path, text: str) -> None:
    """Add to the end of a file; of a symbolic link, raises OSError rather than write where it leads."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ZooError(f"{path} is damaged: not JSON ({error})") from error


@contextmanager
def storage_errors() -> Iterator[None]:
    """Make one clear error of what storage that is full, read-only or broken does."""
    try:
        yield
    except OSError as error:
        if error.errno not in STORAGE:
            raise
        raise ZooError(
            f"{error}. Make room, or make the folder writable; the same command again goes on from there"
        ) from error


@contextmanager
def locked(path: Path, wait: bool) -> Iterator[None]:
    """Hold the lock file `path`, which the system releases however its holder ends.

    Without `wait`, raises BlockingIOError while another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # some cluster file systems have no locks: better to train without than not at all (docs/scaling.md)
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        yield

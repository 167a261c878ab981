"""Files that appear whole or not at all: written under a temporary name, flushed to disk, then renamed."""

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from zoo.errors import ZooError

FLUSHES = 16  # at once

# How the system says that it is the storage that fails, and not what is stored.
STORAGE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # of file systems that can't flush a folder


def write(path: Path, save: Callable[[BinaryIO], Any]) -> None:
    """Let `save` write to a temporary file beside `path`, then rename it to `path`.

    It is on disk, and under its name, before this returns: no file written later survives a power cut without it.
    """
    make_folder(path.parent)
    temporary = temporary_of(path)
    try:
        with temporary.open("wb") as file:
            save(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_all(contents: Mapping[Path, memoryview]) -> None:
    """`write` for many files at once, which takes the disk little longer than one.

    When this returns, all are on disk and under their names; before, any of them can be.
    """
    temporaries = {path: temporary_of(path) for path in contents}
    try:
        changed = [folder for path in contents for folder in (*made_folder(path.parent), path.parent)]
        for path, temporary in temporaries.items():
            temporary.write_bytes(contents[path])
        at_once(flush_file, temporaries.values())
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
        at_once(flush_folder, dict.fromkeys(changed))
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def append_all(lines: Mapping[Path, str]) -> None:
    """Add a line to the end of each file, or begin it with that, and have all on disk.

    A power cut can leave a part of the line. Raises ZooError for a symbolic link.
    """
    new = {path.parent for path in lines if not path.exists()}
    for path, line in lines.items():
        append(path, line)
    at_once(flush_file, lines)
    at_once(flush_folder, new)


def temporary_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it lies in, so that they survive a power cut."""
    for changed in made_folder(folder):
        flush_folder(changed)


def made_folder(folder: Path) -> list[Path]:
    """Make a folder, and those that it lies in; returns the folders with new names in them, which aren't flushed."""
    if folder.exists():
        return []
    changed = made_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    return [*changed, folder.parent]


def at_once(flush: Callable[[Path], None], places: Iterable[Path]) -> None:
    """Flush many files or folders in threads: the file system then writes its journal for all of them, not for each."""
    with ThreadPoolExecutor(FLUSHES) as threads:
        for _ in threads.map(flush, places):
            pass


def flush_file(path: Path) -> None:
    """Have what was written to a file on disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise
    finally:
        os.close(descriptor)


def write_bytes(path: Path, content: bytes) -> None:
    write(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_torch(path: Path, value: Any) -> str:
    """Returns the sha256 of the file."""
    content = torch_bytes(value)
    write(path, lambda file: file.write(content))
    return sha256(content)


def torch_bytes(value: Any) -> memoryview:
    """The content of a file that torch.load reads."""
    import torch  # takes seconds, and most of this module has no use for it

    content = BytesIO()  # torch makes a RuntimeError of a full disk
    torch.save(value, content)
    return content.getbuffer()


def sha256(content: bytes | memoryview) -> str:
    """The digest as `sha256sum` prints it."""
    return hashlib.sha256(content).hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name, without its bytes again where the file system allows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not linked(source, target):
        with source.open("rb") as file:
            write(target, lambda copy: shutil.copyfileobj(file, copy))


def linked(source: Path | str, target: Path | str) -> bool:
    """Give a file another name, if the file system allows: not on another disk, and not on every one."""
    try:
        os.link(source, target)
        return True
    except OSError:
        return False


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed process left in `folder`."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def append(path: Path, text: str) -> None:
    """Add to the end of a file. Raises ZooError for a symbolic link rather than write where it leads."""
    with open(open_itself(path, os.O_WRONLY | os.O_APPEND), "w", encoding="utf-8") as file:
        file.write(text)


def open_emptied(path: Path) -> TextIO:
    """A new file to write to in place. Raises ZooError for a symbolic link rather than empty what it leads to."""
    return open(open_itself(path, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8")


def open_itself(path: Path, flags: int) -> int:
    """A descriptor of the file, made if there is none. Raises ZooError for a symbolic link."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ZooError(f"{path} is a symbolic link, which is not written through: delete it") from error


def require_within(path: Path, folder: Path) -> None:
    """Raise ZooError if symbolic links lead from `path` out of `folder`, whose content is its own."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ZooError(f"{path} is a symbolic link out of {folder}, which is not followed: put the file itself there")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ZooError(f"{path} is damaged: not JSON ({error})") from error


def is_storage(error: BaseException | None) -> bool:
    """Whether it is the storage that fails; libraries hide that in errors of their own, which have it for a cause."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in STORAGE:
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return False


@contextmanager
def storage_errors() -> Iterator[None]:
    """Make one clear error of what storage that is full, read-only or broken does."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        if not is_storage(error):
            raise
        raise ZooError(
            f"{error}. Make room, or make the folder writable; the same command again goes on from there"
        ) from error

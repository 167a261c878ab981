"""The files of a population made elsewhere, in a folder or a zip file: read as data from anyone, one at a time.

Nothing is unpacked, no name leads out, and no file may be larger than what it is read for can need.
"""

import os
import stat
import zipfile
from collections import defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from zoo.errors import ZooError

# The most bytes that a file of each kind can have.
TEXT, RECORDS, STATE = 2**24, 2**28, 2**31

SYMBOLIC_LINK = 0xA000  # in the upper half of a zip entry's attributes


class Container(Protocol):
    """A tree of files; names are relative, with slashes."""

    @property
    def path(self) -> Path:
        """The folder, or the zip file."""

    def children(self, folder: str = "") -> list[str]:
        """The names in a folder, sorted; none if there is no such folder."""

    def has(self, name: str) -> bool: ...

    def read(self, name: str, most: int) -> bytes:
        """A file. Raises ZooError, which names it, if it is missing, lies elsewhere, or has more than `most` bytes."""

    def file(self, name: str) -> str | None:
        """Where a file that was read lies by itself, to be linked; None in a zip file."""

    def named(self, name: str) -> Path:
        """The file to be named in an error."""


def container(path: Path) -> Container | None:
    """Of a folder or a zip file; None of anything else."""
    if path.is_dir():
        return Folder(path)
    return Zip(path) if path.is_file() and zipfile.is_zipfile(path) else None


class Folder:
    """Paths are put together as texts: there are many, and pathlib takes longer than the system does."""

    def __init__(self, path: Path):
        self.path, self.root = path, str(path)
        self.checked = {""}  # folders that are folders, by no link

    def children(self, folder: str = "") -> list[str]:
        try:
            return sorted(os.listdir(f"{self.root}/{folder}"))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def has(self, name: str) -> bool:
        return os.path.lexists(f"{self.root}/{name}")

    def read(self, name: str, most: int) -> bytes:
        """Most files are files in folders, by no link, and this is sooner known than where a path leads."""
        if not self.is_itself(name):
            return self.own(name, most).read_bytes()
        try:
            descriptor = os.open(f"{self.root}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:  # a link, or none at all
            return self.own(name, most).read_bytes()
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise no_file(self.named(name))
            if status.st_size > most:
                raise too_large(self.named(name), status.st_size, most)
            return file.read()

    def is_itself(self, name: str) -> bool:
        """Whether a file's folder lies in this one, by no link and no `..`."""
        folder, _, own = name.rpartition("/")
        if own in ("", ".", "..") or name.startswith("/"):
            return False
        if folder in self.checked:
            return True
        try:
            itself = self.is_itself(folder) and stat.S_ISDIR(os.lstat(f"{self.root}/{folder}").st_mode)
        except OSError:
            return False
        if itself:
            self.checked.add(folder)
        return itself

    def own(self, name: str, most: int) -> Path:
        """A file that lies in the folder, wherever links lead. Raises ZooError, which names it, for anything else."""
        path = self.named(name)
        try:
            file = path.resolve(strict=True)
            if not file.is_relative_to(self.path.resolve()):
                raise ZooError(f"{path} leads out of {self.path}, and is not followed: put the file itself there")
            status = os.stat(file)
        except FileNotFoundError:
            raise ZooError(f"{path} is missing: get it anew from where it was published") from None
        except (OSError, RuntimeError, ValueError) as error:  # links in a circle, names that can't be
            raise ZooError(f"{path} can't be read ({error}): get it anew") from error
        if not stat.S_ISREG(status.st_mode):
            raise no_file(path)
        if status.st_size > most:
            raise too_large(path, status.st_size, most)
        return file

    def file(self, name: str) -> str | None:
        path = f"{self.root}/{name}"
        return path if self.is_itself(name) and not os.path.islink(path) else None

    def named(self, name: str) -> Path:
        return self.path / name


class Zip:
    def __init__(self, path: Path):
        """Raises ZooError if the file is damaged, or if a name in it leads out of the folder of whoever unpacks it."""
        self.path = path
        self.archive  # noqa: B018  damage is seen now
        self.entries = {info.filename: info for info in self.archive.infolist() if not info.is_dir()}
        for info in self.entries.values():
            self.require_plain(info)

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except Exception as error:  # whatever the bytes lead to
            raise ZooError(f"{self.path} is damaged ({error}): get it anew") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes open the file anew."""
        return type(self), (self.path,)

    def require_plain(self, info: zipfile.ZipInfo) -> None:
        name = PurePosixPath(info.filename)
        if name.is_absolute() or ".." in name.parts or "\\" in info.filename or "\0" in info.filename:
            raise ZooError(f"{self.path} holds {info.filename!r}, which leads out of its folder: get it anew")
        if info.external_attr >> 16 & 0xF000 == SYMBOLIC_LINK:
            raise ZooError(f"{self.path} holds {info.filename!r}, a symbolic link, which is not followed: get it anew")

    @cached_property
    def folders(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for entry in self.entries:
            name = entry
            while name:
                folder, _, child = name.rpartition("/")
                found[folder].add(child)
                name = folder
        return found

    def children(self, folder: str = "") -> list[str]:
        return sorted(self.folders.get(folder, ()))

    def has(self, name: str) -> bool:
        return name in self.entries

    def read(self, name: str, most: int) -> bytes:
        info = self.entries.get(name)
        if info is None:
            raise ZooError(f"{self.path} lacks {name}: get it anew from where it was published")
        if info.file_size > most:
            raise too_large(self.named(name), info.file_size, most)
        try:
            return self.archive.read(info)
        except Exception as error:  # checksums, encryption, methods that Python lacks
            raise ZooError(f"{self.named(name)} is damaged ({error}): get it anew") from error

    def file(self, name: str) -> str | None:
        return None

    def named(self, name: str) -> Path:
        return self.path / name


def no_file(path: Path) -> ZooError:
    return ZooError(f"{path} is no file: put the file itself there")


def too_large(path: Path, size: int, most: int) -> ZooError:
    return ZooError(f"{path} has {size:,} bytes, and no such file needs more than {most:,}: get it anew")

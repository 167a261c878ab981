"""Folders that appear whole or not at all, and folders as one file."""

import contextlib
import glob
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from zoo.disk import files, locks, paths
from zoo.errors import ZooError

DEFLATED = (".cff", ".csv", ".json", ".md", ".pt", ".py", ".txt")  # weights and pictures hardly get smaller
LEVEL = 3  # of compression: as fast as disks are; 6, as usual, is half as fast and makes images 10 % smaller
SMALL = 2**23  # bytes; larger files are read piece by piece


@contextlib.contextmanager
def replacing(folder: Path, archive: Path | None = None) -> Iterator[Path]:
    """An empty folder beside it, which takes the place of `folder` if the block ends well and vanishes if not.

    `archive`: zip the new folder there, too. An older one is removed before: it is never beside a newer folder.

    Raises ZooError while another process replaces the same folder, and if the storage is full or can't be written.
    """
    folder = folder.resolve()
    new, old = paths.folder_in_progress(folder), paths.folder_replaced(folder)
    with files.storage_errors(), alone(paths.folder_lock(folder)):
        if old.exists() and not folder.exists():  # a process was killed between the two renames below
            old.rename(folder)
        remove(new, old)  # what a killed process left
        if archive:
            remove_leftovers(archive)
        new.mkdir()
        try:
            yield new
            if archive:
                archive.unlink(missing_ok=True)
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        finally:
            remove(new, *[old] * folder.exists())
        if archive:
            zip_folder(folder, archive)


def require_name(folder: Path, option: str) -> None:
    """Raise ZooError, which names the `option` it was given by, if there can be no such folder, or it has no name."""
    try:
        folder.resolve().exists()
        named = folder.name not in ("", "..")
    except (OSError, ValueError, RuntimeError) as error:  # too long, odd characters, links in a circle
        raise ZooError(f"{option}={str(folder)!r} can't be a folder ({error}): choose another") from error
    if not named:
        raise ZooError(f"{option}={folder} has no name of its own: give the folder by its name")


def require_new(folder: Path, option: str) -> None:
    """Raise ZooError unless `folder` can be made: nothing that is there is ever replaced by it."""
    require_name(folder, option)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ZooError(f"{option}={str(folder)!r} is there: choose another, or move it away")


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock file, and remove it at the end. Raises ZooError while another process holds it."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(locks.locked(lock))
        except OSError as error:
            if files.is_storage(error):
                raise
            raise ZooError(f"can't write in {lock.parent} ({error.strerror}): choose another folder or name") from error
        held.callback(lock.unlink, missing_ok=True)
        yield


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that a process left that was killed while it wrote `path`."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        leftover.unlink(missing_ok=True)


def zip_folder(folder: Path, target: Path) -> None:
    """All files of `folder`, under its name, as a zip file."""

    def save(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w", compresslevel=LEVEL) as archive:
            for path in tqdm(files_in(folder), "zipping", unit="file"):
                add(archive, path, path.removeprefix(str(folder.parent)))

    files.write(target, save)


def files_in(folder: Path | str) -> list[str]:
    """Their paths, folder by folder."""
    with os.scandir(folder) as scanned:  # os.walk asks of each folder once more whether it is a link
        entries = sorted(scanned, key=lambda entry: entry.name)
    found = [entry.path for entry in entries if not entry.is_dir()]
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            found += files_in(entry.path)
    return found


def add(archive: zipfile.ZipFile, path: str, name: str) -> None:
    method = zipfile.ZIP_DEFLATED if path.endswith(DEFLATED) else zipfile.ZIP_STORED
    info = zipfile.ZipInfo.from_file(path, name)
    if info.file_size > SMALL:
        archive.write(path, name, method)
        return
    with open(path, "rb", buffering=0) as file:
        archive.writestr(info, file.read(), method)

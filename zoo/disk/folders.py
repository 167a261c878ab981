"""Folders that appear whole or not at all, and folders as one file."""

import contextlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm import tqdm

from zoo.disk import files, paths
from zoo.errors import ZooError

DEFLATED = (".cff", ".csv", ".json", ".md", ".pt", ".py", ".txt")  # weights and pictures hardly get smaller


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """An empty folder beside it, which takes the place of `folder` if the block ends well and vanishes if not.

    Raises ZooError while another process replaces the same folder.
    """
    folder = folder.resolve()
    new, old = paths.folder_in_progress(folder), paths.folder_replaced(folder)
    with alone(paths.folder_lock(folder)):
        if old.exists() and not folder.exists():  # a process was killed between the two renames below
            old.rename(folder)
        remove(new, old)  # what a killed process left
        new.mkdir()
        try:
            yield new
            if folder.exists():
                folder.rename(old)
            new.rename(folder)
        finally:
            remove(new, *[old] * folder.exists())


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.locked(lock, wait=False))
        except BlockingIOError:
            raise ZooError(f"another process holds {lock}: wait until it has ended") from None
        stack.callback(lock.unlink)
        yield


def remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def zip_folder(folder: Path, target: Path) -> None:
    """All files of `folder`, under its name, as a zip file."""

    def save(file: BinaryIO) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            members = sorted(path for path in folder.rglob("*") if path.is_file())
            for path in tqdm(members, "zipping", unit="file"):
                method = zipfile.ZIP_DEFLATED if path.suffix in DEFLATED else zipfile.ZIP_STORED
                archive.write(path, folder.name / path.relative_to(folder), method)

    files.write(target, save)

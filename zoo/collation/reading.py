"""Reading a sweep's files, which may be damaged or anyone's: what is wrong with one is a ZooError that names it."""

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.disk import files
from zoo.errors import ZooError


def own_file(path: Path, sweep: Path) -> Path:
    """The file itself, where `path` may be a link to it.

    Raises FileNotFoundError if there is none, ZooError if it lies outside the sweep or is anything but a file: what
    is elsewhere is never published, and a pipe is never waited for.
    """
    if is_itself(path, sweep):
        return path
    try:
        file = path.resolve(strict=True)
    except RuntimeError as error:  # links in a circle
        raise ZooError(f"{path} leads nowhere ({error})") from error
    if not file.is_relative_to(sweep.resolve()):
        raise ZooError(f"{path} leads out of the sweep: put the file itself there instead of a link")
    if not file.is_file():
        raise ZooError(f"{path} is no file")
    return file


def is_itself(path: Path, sweep: Path) -> bool:
    """Whether it is a file in the sweep, by no link. Most are, and this is sooner known than where a path leads."""
    place, inside, rest = str(path).partition(f"{sweep}{os.sep}")
    *folders, name = rest.split(os.sep)
    if place or not inside or os.pardir in folders:
        return False
    place = str(sweep)
    for folder in folders:
        place += os.sep + folder
        if not stat.S_ISDIR(os.lstat(place).st_mode):
            return False
    return stat.S_ISREG(os.lstat(place + os.sep + name).st_mode)


def json_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object, all of which can be written as text again."""
    value = files.read_json(path)
    if not isinstance(value, dict):
        raise TypeError(f"it holds a {type(value).__name__}, not an object")
    json.dumps(value, ensure_ascii=False).encode()  # not so halves of a character
    return value


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a damaged file leads to into a ZooError that names it."""
    try:
        yield
    except ZooError:
        raise
    except FileNotFoundError as error:
        raise ZooError(f"{path} is missing") from error
    except Exception as error:  # parsers raise whatever the bytes lead them to
        raise ZooError(f"{path} is damaged: {type(error).__name__} {error}") from error


def reason(error: ZooError, sweep: Path) -> str:
    """Why a run is left out: a line to be published, so without the place of the sweep."""
    return str(error).splitlines()[0].replace(f"{sweep}{os.sep}", "")

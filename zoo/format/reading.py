"""Reading the files of a zoo that anyone may have made: what is wrong with one is a ZooError that names it."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.installation import command

REMEDY = f"get the zoo anew, or make it by `{command('analyze')}`"
SHOWN = 300  # characters of what was found in a file; it may hold anything

# what names one file or folder in a folder: no way out of it, nothing that a terminal obeys
PLAIN_NAME = re.compile(r"(?!\.{1,2}$)[^/\\\x00-\x1f\x7f-\x9f\u2028\u2029]{1,255}")


def damaged(path: Path | str, why: object) -> ZooError:
    """The error to raise for a file that is not what docs/zoo_format.md says."""
    line = " ".join(str(why).split())
    return ZooError(f"{path} is damaged ({line[:SHOWN]}{'…' * (len(line) > SHOWN)}): {REMEDY}")


def is_plain_name(name: Any) -> bool:
    return isinstance(name, str) and PLAIN_NAME.fullmatch(name) is not None


def are_plain_names(names: Sequence[Any]) -> bool:
    """Whether all are. Those of a million models are looked at as one text, if that can tell."""
    try:
        text = "".join(names)
    except TypeError:
        return False
    if text.isascii() and text.isprintable() and "/" not in text and "\\" not in text:
        return all(1 <= length <= 255 for length in set(map(len, names))) and "." not in names and ".." not in names
    return all(map(is_plain_name, names))


def require_file(path: Path) -> None:
    """Raise ZooError unless `path` is a file that lies in its folder: no pipe to wait for, no link to elsewhere."""
    try:
        own = path.resolve(strict=True).is_relative_to(path.parent.resolve())
    except FileNotFoundError:
        raise ZooError(f"{path} is missing: {REMEDY}") from None
    except (OSError, RuntimeError) as error:  # links in a circle, too
        raise damaged(path, error) from error
    if not own:
        raise ZooError(f"{path} is a link to a file outside the zoo: put the file itself there, or {REMEDY}")
    if not path.is_file():
        raise damaged(path, "it is no file")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """While entered, `path` is read and checked. Whatever that raises becomes a ZooError that names the file."""
    require_file(path)
    with checking(path):
        yield


@contextmanager
def checking(path: Path | str) -> Iterator[None]:
    """The same for what has been read already, or does not lie in a folder: in a zip file, or at a URL."""
    try:
        yield
    except ZooError:
        raise
    except Exception as error:  # parsers raise whatever the bytes lead them to
        raise damaged(path, f"{type(error).__name__}: {error}") from error


def json_object(path: Path) -> dict[str, Any]:
    """A file that holds one JSON object."""
    with reading(path):
        return json_object_in(path, path.read_bytes())


def json_object_in(path: Path | str, content: bytes) -> dict[str, Any]:
    """The JSON object in the content of a file. Raises ZooError, which names `path`, if it holds anything else."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"not JSON ({error})") from error
    if not isinstance(value, dict):
        raise damaged(path, f"it holds a {type(value).__name__}, not an object")
    return value

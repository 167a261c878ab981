"""SHA256SUMS: the sha256 of every file of a zoo, as `sha256sum` writes and checks them."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from joblib import cpu_count

from zoo.disk import files, paths
from zoo.disk.folders import files_in
from zoo.format.reading import damaged, reading
from zoo.format.record import OPTIMIZER_DIGEST, STATE_DIGEST

LINE = re.compile(r"(\\?)([0-9a-f]{64}) [ *](.+)")
ESCAPED = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}  # letters that would end a line, in a line that begins with `\`
UNESCAPED = {escaped: letter for letter, escaped in ESCAPED.items()}


def write(zoo: Path) -> None:
    """Write the checksums of all files that are in the folder, folder by folder.

    The states of runs that have records with digests were checked by these when they were put there, and are not read
    again: that would take longer than all the rest.
    """
    names = names_in(zoo)
    known = recorded(zoo)
    unknown = [name for name in names if name not in known]
    with ThreadPoolExecutor(cpu_count()) as threads:  # hashing lets other threads run
        known |= zip(unknown, threads.map(lambda name: sha256_of(zoo / name), unknown), strict=True)
    text = "".join(line(name, known[name]) for name in names)
    files.write_bytes(paths.checksums(zoo), os.fsencode(text))


def names_in(zoo: Path) -> list[str]:
    """Every file but the checksums themselves, as it is named there: by its path in the folder."""
    names = [path[len(str(zoo)) + 1 :] for path in files_in(zoo)]
    return [name for name in names if name != paths.checksums(zoo).name]


def recorded(zoo: Path) -> dict[str, str]:
    """The digests of states that the runs' records have, by the names of their files."""
    found = {}
    for run in paths.runs(zoo).glob("*"):
        folder = f"{paths.runs(zoo).name}/{run.name}/"
        for epoch, text in enumerate(paths.result(run).read_bytes().splitlines()):
            record = json.loads(text)
            for name, key in zip(names_of_epoch(epoch), (STATE_DIGEST, OPTIMIZER_DIGEST), strict=True):
                if key in record:
                    found[folder + name] = record[key]
    return found


@cache
def names_of_epoch(epoch: int) -> tuple[str, str]:
    """A run's two files of an epoch, by their paths in its folder."""
    return str(paths.checkpoint(Path(), epoch)), str(paths.optimizer(Path(), epoch))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def line(name: str, digest: str) -> str:
    escaped = "".join(ESCAPED.get(letter, letter) for letter in name)
    mark = "" if escaped == name else "\\"
    return f"{mark}{digest}  {escaped}\n"


def read(zoo: Path) -> dict[str, str]:
    """The sha256 of each file by its name: a path in the folder. Raises ZooError for a line that is no checksum."""
    path = paths.checksums(zoo)
    with reading(path):
        return parsed(path, path.read_bytes())


def parsed(path: Path, content: bytes) -> dict[str, str]:
    """The content of the file `path`. Raises ZooError for a line that is no checksum of a file in the folder."""
    found: dict[str, str] = {}
    for number, text in enumerate(lines(content), start=1):
        match = LINE.fullmatch(text)
        name = unescaped(match[3]) if match and match[1] else match[3] if match else ""
        if not match or not is_inside(name) or name in found:
            raise damaged(path, f"line {number} is no checksum of a file in the zoo, or one that is there before")
        found[name] = match[2]
    return found


def lines(content: bytes) -> Iterator[str]:
    if content and not content.endswith(b"\n"):
        yield ""  # cut off, which is no line
    yield from os.fsdecode(content).split("\n")[:-1]


def unescaped(name: str) -> str:
    return re.sub(r"\\(?:[\\nr])", lambda found: UNESCAPED[found[0]], name)


def is_inside(name: str) -> bool:
    """Whether a path leads to something in the folder, written the only way."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))

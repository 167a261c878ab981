"""The raw files that prepared images come from: noted, so that a change of them is noticed."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from zoo.disk import files, paths
from zoo.disk.modules import file_defining
from zoo.errors import ZooError


@dataclass(frozen=True)
class RawFiles:
    """What the raw files of some prepared images were like, noted beside these (see `paths.raw_files`)."""

    paths: list[str] | None  # files and folders, as seen from data.root where they lie in it; None: all in data.root
    count: int  # of the files that these stand for
    digest: str  # of their names, sizes and times of change
    code: str | None  # digest of the module that defines the source, unless it is the project's own or can't be found

    @classmethod
    def of(cls, used: Sequence[Path | str] | None, data: Mapping[str, Any]) -> Self:
        """As they are now. `used`: the files and folders, as in Source.files. `data`: the config."""
        root = Path(data["root"]).expanduser()
        named = None if used is None else [_from(root, root / path) for path in used]
        found = sorted(_entries(root, named, Path(data["cache"]).expanduser()))
        digest = hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest()
        return cls(named, len(found), digest, _code(data["source"]))

    @classmethod
    def read(cls, prepared: Path, images: str) -> Self | None:
        """What is noted beside a file of prepared images that have the digest `images`; None if that isn't noted."""
        try:
            note = files.read_json(paths.raw_files(prepared))
            return cls(**note["raw_files"]) if note["images"] == images else None
        except (OSError, ZooError, TypeError, KeyError):
            return None

    def write(self, prepared: Path, images: str) -> None:
        files.write_json(paths.raw_files(prepared), {"images": images, "raw_files": asdict(self)})

    def changes(self, data: Mapping[str, Any]) -> str | None:
        """What has changed since, in words; None for nothing. Files that are all gone are no change."""
        now = RawFiles.of(self.paths, data)
        if now.count and now.digest != self.digest:
            return f"the raw files in {data['root']} have changed"
        if now.code and now.code != self.code:
            return f"the code of data.source={data['source']} has changed"
        return None


def _from(root: Path, path: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path.absolute())


def _entries(root: Path, named: Sequence[str] | None, cache: Path) -> Iterator[str]:
    """A line for every file: its name, size in bytes and time of change in nanoseconds."""
    for name in ["."] if named is None else named:
        for path in _below(root / name, os.path.realpath(cache)):
            try:
                status = os.stat(path)
            except OSError:  # a link to nowhere, or removed since it was listed
                continue
            yield f"{os.path.relpath(path, root)}\t{status.st_size}\t{status.st_mtime_ns}"


def _below(path: Path, cache: str) -> Iterator[str]:
    """The file, or the files below the folder, links followed, without hidden ones and the cache's prepared images."""
    if not path.is_dir():
        yield str(path)
    seen = set()
    for folder, subfolders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link can lead to a folder that it lies in
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        prepared = {name for name in names if real == cache and paths.is_of_preparation(name)}
        yield from (os.path.join(folder, name) for name in names if not name.startswith(".") and name not in prepared)


def _code(source: str) -> str | None:
    """SHA-256 of the file of the module that defines the function `source`, which is not imported for it."""
    if source.partition(".")[0] == __name__.partition(".")[0]:
        return None
    file = file_defining(source)
    try:
        return files.sha256(file.read_bytes()) if file else None
    except OSError:
        return None

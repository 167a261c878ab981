"""The raw files that prepared images come from: noted, so that a change of them is noticed."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from zoo.data.errors import DataError
from zoo.disk import files, paths
from zoo.disk.modules import module_defining, with_own_imports
from zoo.errors import ZooError


@dataclass(frozen=True)
class RawFiles:
    """What the raw files of some prepared images were like, noted beside these (see `paths.raw_files`)."""

    paths: list[str] | None  # files and folders, as seen from data.root where they lie in it; None: all in data.root
    count: int  # of the files that these stand for; not 0 if any are named
    digest: str  # of their names, sizes and times of change
    code: str | None  # digest of the module that defines the source, unless it is the project's own or can't be found

    @classmethod
    def of(cls, used: Sequence[Path | str] | None, data: Mapping[str, Any]) -> Self:
        """As they are now. `used`: the files and folders, as in Source.files. `data`: the config.

        Raises DataError if there is none of those: no change of theirs would ever be seen.
        """
        root = Path(data["root"]).expanduser()
        named = None if used is None else [_seen_from(root, Path(path).expanduser()) for path in used]
        found = cls.now(named, data)
        if named and not found.count:
            raise DataError(
                f"data.source={data['source']}: of Source.files, there is none, such as {used[0] if used else root}: "
                "give the files as you open them, or leave `files` out"
            )
        return found

    @classmethod
    def now(cls, named: list[str] | None, data: Mapping[str, Any]) -> Self:
        """The same of `paths`."""
        root = Path(data["root"]).expanduser()
        found = sorted(_entries(root, named, Path(data["cache"]).expanduser()))
        digest = hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest()
        return cls(named, len(found), digest, _code(data["source"]))

    @classmethod
    def read(cls, prepared: Path, images: str) -> Self | None:
        """What is noted beside a file of prepared images that have the digest `images`; None if that isn't noted."""
        try:
            note = files.read_json(paths.raw_files(prepared))
            noted = cls(**note["raw_files"])
            is_note = note["images"] == images and not (noted.paths and not noted.count)  # which looked elsewhere
            return noted if is_note else None
        except (OSError, ZooError, TypeError, KeyError):
            return None

    def write(self, prepared: Path, images: str) -> None:
        files.write_json(paths.raw_files(prepared), {"images": images, "raw_files": asdict(self)})

    def changes(self, data: Mapping[str, Any]) -> str | None:
        """What has changed since, in words; None for nothing. Files that are all gone are no change."""
        now = RawFiles.now(self.paths, data)
        if now.count and now.digest != self.digest:
            return f"the raw files in {data['root']} have changed"
        if now.code and now.code != self.code:
            return f"the code of data.source={data['source']} has changed"
        return None


def _seen_from(root: Path, path: Path) -> str:
    """A path as one opens it, from the root if it lies there. One that is only there below the root is seen from it."""
    if not path.is_absolute() and not path.exists() and (root / path).exists():
        path = root / path
    root, path = root.absolute(), path.absolute()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


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
    """SHA-256 of the file of the module that defines the function `source`, or of that and the own files that it
    imports; none of them is imported for it."""
    module = module_defining(source)
    if module is None or source.partition(".")[0] == __name__.partition(".")[0]:
        return None
    try:
        digests = [files.sha256(file.read_bytes()) for _, file in sorted(with_own_imports(module).items())]
    except OSError:
        return None
    return digests[0] if len(digests) == 1 else files.sha256("\n".join(digests).encode())

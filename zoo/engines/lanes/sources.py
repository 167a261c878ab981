"""The version of the kernels' sources. setup.py runs this file alone, when it builds them: standard library only."""

import hashlib
from pathlib import Path

SOURCES = "src"
RECORD = "_lanes_sources.txt"
"""In an installed package, not in a checkout: the digest of the sources that its kernels were built from."""


def digest(folder: Path) -> str:
    """A digest of the sources in the folder: of every file's name and content, as 16 hexadecimal digits."""
    found = hashlib.sha256()
    for path in sorted(file for file in folder.rglob("*") if file.suffix in (".h", ".cpp")):
        found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


def expected(package: Path) -> str | None:
    """The digest that the kernels in the package's folder must have; None if there is nothing to tell it from."""
    record = package / RECORD
    if record.exists():
        return record.read_text().strip()
    return digest(package / SOURCES) if (package / SOURCES).is_dir() else None

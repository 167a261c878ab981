"""A zoo's files beside the list of them in SHA256SUMS."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from joblib import cpu_count

from zoo.curation.findings import CHANGED, Finding, folders_of
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import manifest


def own_files(folder: Path, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """What lies in a zoo, by its path there, and whether it is a file: links, pipes and such are not, nor followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                yield from own_files(Path(entry.path), f"{prefix}{entry.name}/")
            else:
                yield prefix + entry.name, entry.is_file(follow_symlinks=False)


def empty_folders(folder: Path, prefix: str = "") -> Iterator[Finding]:
    """No zoo has any."""
    with os.scandir(folder) as entries:
        inner = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    for name in inner:
        if not any(os.scandir(folder / name)):
            yield Finding(f"{prefix}{name}/", "is foreign: an empty folder")
        yield from empty_folders(folder / name, f"{prefix}{name}/")


def read_sums(zoo: Path) -> tuple[dict[str, str], list[Finding]]:
    """What SHA256SUMS has; nothing where it is missing or damaged, which is a finding."""
    try:
        return manifest.read(zoo), []
    except ZooError as error:
        name = paths.checksums(zoo).name
        return {}, [Finding(name, str(error).removeprefix(f"{zoo}{os.sep}{name}").strip())]


def misplaced(there: Mapping[str, bool], sums: Collection[str]) -> Iterator[Finding]:
    """What is missing, what is foreign, and what is no file. Whole folders are said once."""
    files = {name for name, is_file in there.items() if is_file}
    yield from (Finding(name, "is a link or no file, and was not looked at") for name in there if name not in files)
    for name, count in outermost(set(sums) - there.keys(), there).items():
        yield Finding(name, f"is missing{with_files(count)}")
    for name, count in outermost(files - set(sums) - {paths.checksums(Path()).name}, sums).items():
        yield Finding(name, f"is foreign: not in {paths.checksums(Path()).name}{with_files(count)}")


def outermost(names: Iterable[str], others: Iterable[str]) -> dict[str, int]:
    """The outermost folders, or files, of these names that none of the others is in, and how many names each has."""
    folders = {folder for name in others for folder in folders_of(name)}
    found: dict[str, int] = {}
    for name in sorted(names):
        place = next((folder for folder in folders_of(name) if folder not in folders), name)
        found[place] = found.get(place, 0) + 1
    return found


def with_files(count: int) -> str:
    return f", with {count:,} files" if count > 1 else ""


def changed(zoo: Path, sums: Mapping[str, str], names: Iterable[str]) -> Iterator[Finding]:
    """Which of these files have another sha256 than in SHA256SUMS."""
    known = [name for name in names if name in sums]
    with ThreadPoolExecutor(cpu_count()) as threads:  # hashing lets other threads run
        for name, digest in zip(known, threads.map(lambda name: manifest.sha256_of(zoo / name), known), strict=True):
            if digest != sums[name]:
                yield Finding(name, CHANGED)

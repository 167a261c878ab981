"""The zip file of a zoo beside the checksums of its files."""

import functools
import hashlib
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from joblib import cpu_count
from tqdm import tqdm

from zoo.curation.findings import Finding, Findings, folders_of
from zoo.curation.zip_structure import faults
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format import manifest
from zoo.processes import mapping

A_TASK = 2_000  # files
PIECE = 2**22  # bytes


def sums_in(archive: Path) -> tuple[bytes, str]:
    """The content of SHA256SUMS in a zip file of a zoo, and the folder there that the zoo is in, with its slash.

    Raises ZooError if it is no zip file, or has no such file in one folder.
    """
    name = paths.checksums(Path()).name
    try:
        with zipfile.ZipFile(archive) as file:
            places = [place for place in file.namelist() if place.split("/")[1:] == [name]]
            if len(places) != 1:
                raise ZooError(f"{archive} has no folder with {name}: no zip file of a zoo, or an old one")
            if file.getinfo(places[0]).file_size > PIECE * 64:
                raise ZooError(f"{archive} has a {name} that is too long to be one")
            return file.read(places[0]), places[0].removesuffix(name)
    except ZooError:
        raise
    except Exception as error:  # zipfile raises whatever the bytes lead to
        raise ZooError(f"{archive} can't be read as a zip file ({error})") from error


def differences(archive: Path, sums: Mapping[str, str], content: bytes) -> Iterator[Finding]:
    """How a zip file differs from what these checksums, the `content` of SHA256SUMS, are of."""
    own, folder = sums_in(archive)
    place = archive.name
    if own != content:
        yield Finding(place, f"has another {paths.checksums(Path()).name} than the folder")
        return
    yield from (Finding(f"{place}/{name}" if name else place, text) for name, text in faults(archive))
    with zipfile.ZipFile(archive) as file:
        names = Counter(info.filename for info in file.infolist() if not info.is_dir())
        folders = {info.filename for info in file.infolist() if info.is_dir()}
    for empty in sorted(folders - {parent for name in names for parent in folders_of(name)}):
        yield Finding(f"{place}/{empty}", "is foreign: an empty folder")
    expected = {folder + name: digest for name, digest in sums.items()}
    expected[folder + paths.checksums(Path()).name] = hashlib.sha256(content).hexdigest()
    yield from (Finding(f"{place}/{name}", "is missing") for name in expected if name not in names)
    for name, count in names.items():
        if name not in expected or count > 1:
            yield Finding(f"{place}/{name}", "is there twice" if count > 1 else "is foreign: not in the checksums")
    there = [(name, digest) for name, digest in expected.items() if names[name] == 1]
    tasks = [there[first : first + A_TASK] for first in range(0, len(there), A_TASK)]
    with mapping(functools.partial(changed, archive), min(cpu_count(), len(tasks))) as done:
        with tqdm(total=len(there), desc="verifying the zip", unit="file") as bar:
            for task, found in zip(tasks, done(tasks), strict=True):
                yield from (Finding(f"{place}/{name}", text) for name, text in found)
                bar.update(len(task))


def changed(archive: Path, expected: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Which of these files in a zip file have another sha256, and what to say of each."""
    found = []
    with zipfile.ZipFile(archive) as file:
        for name, digest in expected:
            try:
                if sha256_in(file, name) != digest:
                    found.append((name, "has changed: its sha256 is not the one in the checksums"))
            except Exception as error:  # zipfile and zlib raise whatever the bytes lead to
                found.append((name, f"can't be read ({error})"))
    return found


def sha256_in(file: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with file.open(name) as content:
        while piece := content.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def verify_archive(archive: Path) -> tuple[list[Finding], int]:
    """What is wrong with a zip file by itself, beside the checksums in it; and of how many files these are."""
    content, _ = sums_in(archive)
    sums = manifest.parsed(archive / paths.checksums(Path()).name, content)
    findings = Findings()
    findings.add(differences(archive, sums, content))
    return findings.found, len(sums)

"""The bytes of a zip file that are in none of its files: headers, directory, and what should not be there at all.

Unpacking sees neither bytes between the files or behind the directory nor most of the headers, which say things twice.
What is said once and unpacks to no other content, the files' permissions, is not looked at.
"""

import copy
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

HEADER = struct.Struct("<4s22x2H")  # before a file: signature; lengths of its name and of more
ENTRY = struct.Struct("<28x3H12x")  # in the directory, before the name: lengths of that, of more, of a comment
END = struct.Struct("<4s4H2LH")
END_64_BYTES = 56 + 20  # before that, in a large file
SIZES = 18  # where a file's sizes are in its header
VERSIONS = (10, 20, zipfile.ZIP64_VERSION, zipfile.BZIP2_VERSION, zipfile.LZMA_VERSION)  # of what is needed to unpack
DESCRIPTOR = 8  # a flag: checksum and sizes follow a file instead of standing before it
TEXT = 0x800  # a flag: the name is UTF-8

Fault = tuple[str, str]  # a file in the archive, or "" for the archive itself, and what is wrong with it


def faults(archive: Path) -> Iterator[Fault]:
    with zipfile.ZipFile(archive) as file, archive.open("rb") as raw:
        listed = file.infolist()
        yield from of_headers(raw, sorted(listed, key=lambda info: info.header_offset), file.start_dir)
        yield from of_entries(listed)
        yield from of_end(raw, listed, file)


def of_headers(raw: BinaryIO, infos: Sequence[zipfile.ZipInfo], end: int) -> Iterator[Fault]:
    """Each file begins where the one before it ends, with a header that says what the directory does."""
    place = 0
    for info in infos:
        if info.header_offset != place:
            yield (
                info.filename,
                f"begins at byte {info.header_offset:,}, not at {place:,}, where the one before it ends",
            )
        raw.seek(info.header_offset)
        fixed = raw.read(HEADER.size).ljust(HEADER.size, b"\0")
        _, name, more = HEADER.unpack(fixed)
        header = fixed + raw.read(name + more)
        place = info.header_offset + len(header) + info.compress_size
        if info.flag_bits & DESCRIPTOR:  # of another program
            place = next((other.header_offset for other in infos if other.header_offset >= place), end)
        elif not is_header(header, more, info):
            yield info.filename, "has another header than its entry in the zip's directory"
    if place != end:
        yield "", f"has {abs(end - place):,} bytes that are in none of its files"


def is_header(header: bytes, more: int, info: zipfile.ZipInfo) -> bool:
    """Whether it says what the directory does. `more`: how many bytes there are behind the name, as of large files, of
    which what stands in the usual place of the sizes may not be that."""
    alone = copy.copy(info)
    alone.extra = b""  # which in the directory can be another than here
    expected = alone.FileHeader(zip64=False)
    is_version = int.from_bytes(header[4:6], "little") in (info.extract_version, zipfile.DEFAULT_VERSION)
    end = SIZES if more else None
    return is_version and header[:4] == expected[:4] and header[6:end] == expected[6:end]


def of_entries(infos: Sequence[zipfile.ZipInfo]) -> Iterator[Fault]:
    """What the directory alone says is the same of all files, as one program wrote it."""
    system, version = Counter((info.create_system, info.create_version) for info in infos).most_common(1)[0][0]
    for info in infos:
        mode, other = divmod(info.external_attr, 2**16)
        is_plain = stat.S_IFMT(mode) in (0, stat.S_IFREG) or info.is_dir()
        by = info.create_system == system and info.create_version in (version, info.extract_version)
        plain = by and info.extract_version in VERSIONS and info.internal_attr in (0, 1)
        plain = plain and not (info.volume or info.reserved)
        if not plain or not is_plain or info.comment or other not in (0, 0x10, 0x20):
            yield info.filename, "has another kind of entry in the zip's directory than a file"


def of_end(raw: BinaryIO, infos: Sequence[zipfile.ZipInfo], file: zipfile.ZipFile) -> Iterator[Fault]:
    """Behind the directory there is its end, which says where it is, and nothing else."""
    size = 0
    for info in infos:
        raw.seek(file.start_dir + size)
        lengths = (len(name_of(info)), len(info.extra), len(info.comment))
        if ENTRY.unpack(raw.read(ENTRY.size).ljust(ENTRY.size, b"\0")) != lengths:
            yield info.filename, "has a damaged entry in the zip's directory"
        size += ENTRY.size + sum(lengths)
    raw.seek(file.start_dir + size)
    rest = raw.read(2**20)
    expected = END.pack(b"PK\5\6", 0, 0, len(infos) % 2**16, len(infos) % 2**16, size, file.start_dir % 2**32, 0)
    if rest != expected and not (rest.startswith(b"PK\6\6") and len(rest) == END_64_BYTES + END.size):
        yield "", "has other bytes behind its directory than those that end a zip file"


def name_of(info: zipfile.ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & TEXT else "cp437")

"""A checkpoint's file made again from its vector: what else is in it is the same in all files of a run."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from zoo.format.architecture import Architecture
from zoo.format.layout import AFTER, IDENTITY, NUMBERS, Layout, Span, entries, widened

HALF = 20  # digits: of the names of the files in the zip file, then of their checksums


@dataclass(frozen=True)
class Entry:
    """A file in the zip file: its checksum, where that stands, where its content begins and ends."""

    checksum: int
    places: list[int]
    content: Span


@dataclass(frozen=True)
class Template:
    """One of a run's checkpoints, from which the files of others follow."""

    layout: Layout
    file: bytes
    numbers: list[Entry]
    identity: Entry | None
    order: list[Entry]  # whose checksums the identity is made of

    @classmethod
    def of(cls, file: bytes, architecture: Architecture, variant: int) -> Self | None:
        """Of a checkpoint; None if files like it can't be made again."""
        layout = Layout.of(file, architecture, variant)
        if layout is None:
            return None
        found = {name.split(b"/")[1:-1] == IDENTITY and b"identity" or name: entry for name, entry in listed(file)}
        identity = found.pop(b"identity", None)
        numbers = [entry for name, entry in found.items() if name.split(b"/")[1:-1] == NUMBERS]
        return cls(layout, file, numbers, identity, list(found.values()))

    def filled(self, vector: np.ndarray) -> bytes:
        """The file of a state. `vector`: float32 [parameters]."""
        made = bytearray(self.file)
        words, place = widened(vector, self.layout.wide).view(np.uint8), 0
        for begin, end in self.layout.vector:
            made[begin:end] = words[place : place + end - begin].data
            place += end - begin
        changed = {id(entry): seal(made, entry) for entry in self.numbers}
        if self.identity:
            begin, end = self.identity.content
            checksums = [changed.get(id(entry), entry.checksum) for entry in self.order]
            made[end - HALF : end] = b"%020d" % combined(checksums)
            seal(made, self.identity)
        return bytes(made)


def listed(file: bytes) -> list[tuple[bytes, Entry]]:
    """The files in a zip file by name."""
    found = []
    for name, place, begin, end in entries(file):
        places = [place, end + 4] if file.startswith(AFTER, end) else [place]
        found.append((name, Entry(int.from_bytes(file[place : place + 4], "little"), places, (begin, end))))
    return found


def seal(file: bytearray, entry: Entry) -> int:
    """Write the checksum of what the entry now holds, and return it."""
    begin, end = entry.content
    checksum = zlib.crc32(memoryview(file)[begin:end])
    for place in entry.places:
        file[place : place + 4] = checksum.to_bytes(4, "little")
    return checksum


def combined(checksums: Sequence[int]) -> int:
    """The digest that torch.save puts into a file: boost's hash_combine, as PyTorch's c10/util/hash.h has it."""
    digest = 0
    for checksum in checksums:
        digest ^= checksum + 0x9E3779B9 + (digest << 6) + (digest >> 2) & 2**64 - 1
    return digest

"""Where a checkpoint has its tensors, so that the next one is read without unpickling it: that takes 20 times as long.

A file of torch.save is an uncompressed zip file: a pickle that says which tensors there are, and the numbers of each.
The checkpoints of a run differ in the numbers alone, and in checksums of them. So one of them is loaded with every
number replaced by its own place in the file: that shows what lies where, whatever pickle and zip file say. Another
file of which all else is the same, byte by byte, has it there as well.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self

import numpy as np
import torch

from zoo.format.architecture import DTYPES, Architecture

LARGEST = 2**26  # bytes; what lies in longer files takes longer than unpickling

# folders in the zip file
NUMBERS, IDENTITY = [b"data"], [b".data"]  # the tensors' numbers; a digest of everything

# the zip format, as far as torch.save uses it
END = struct.Struct("<4s6xH4xI2x")  # magic, number of entries, where they begin
ENTRY = struct.Struct("<4s12xI4xI3H8xI")  # magic, checksum, bytes; lengths of name, extra, comment; where the file is
FILE = struct.Struct("<26x2H")  # lengths of name and extra; the content follows
CHECKSUM = 16  # where it is in an entry
AFTER = b"PK\x07\x08"  # what follows the content, and then its checksum once more

Span = tuple[int, int]  # of bytes in a file: begin, end


@dataclass(frozen=True)
class Layout:
    """Where a file has the vector of a state; the same for all files that differ in numbers and checksums alone."""

    variant: int  # of the architecture
    size: int  # bytes of the file
    fixed: list[tuple[int, bytes]]  # where it begins, and what it is: all but numbers and checksums
    vector: list[Span]  # one after another
    wide: list[Span]  # where the vector has whole numbers, of twice the length in the file

    @classmethod
    def of(cls, content: bytes, architecture: Architecture, variant: int) -> Self | None:
        """Read off a checkpoint that torch.load reads; None if it is not as usual, or has numbers of unusual types."""
        try:
            return cls.learnt(content, architecture, variant)
        except Exception:  # torch raises whatever the file leads it to; then no other file is read without it either
            return None

    @classmethod
    def learnt(cls, content: bytes, architecture: Architecture, variant: int) -> Self:
        wide = wide_spans(architecture)
        numbers, checksums = varying(content)
        places, others = (replaced(content, numbers, checksums, shift) for shift in (0, 1))
        vector = spans(loaded(places, architecture, variant))
        if len(vector) > len(architecture.tensors):
            raise ValueError("a tensor is in pieces")
        layout = cls(variant, len(content), list(between(content, sorted(numbers + checksums))), vector, wide)
        for file in (places, others):  # what looks like a place might have been there before
            if (layout.words(file) != loaded(file, architecture, variant)).any():
                raise ValueError("its numbers are not where they seem to be")
        return layout

    def fits(self, content: bytes) -> bool:
        """Whether a file is the same but for numbers and checksums."""
        return len(content) == self.size and all(content.startswith(known, begin) for begin, known in self.fixed)

    def words(self, content: bytes) -> np.ndarray:
        """The bits of all numbers of a file that fits, uint32: one of each float32, two of each whole number."""
        return np.frombuffer(b"".join([content[begin:end] for begin, end in self.vector]), np.uint32)

    def read(self, content: bytes) -> np.ndarray:
        """The vector [parameters] of a file that fits, float32. Raises ValueError if that can't hold a whole number."""
        words = self.words(content)
        return narrowed(words, self.wide) if self.wide else words.view(np.float32)


def wide_spans(architecture: Architecture) -> list[Span]:
    """Where an architecture's vector has int64. Raises ValueError if it has any other type but float32."""
    if {entry.dtype for entry in architecture.tensors} - {"float32", "int64"}:
        raise ValueError("an unusual type")
    return [(entry.start, entry.start + entry.length) for entry in architecture.tensors if entry.dtype == "int64"]


def narrowed(words: np.ndarray, wide: Sequence[Span]) -> np.ndarray:
    """The vector of a file's words."""
    pieces, place, before = [], 0, 0  # place: among the words; before: in the vector
    for begin, end in wide:
        pieces.append(words[place : place + begin - before].view(np.float32))
        place += begin - before
        whole = words[place : place + 2 * (end - begin)].view(np.int64)
        pieces.append(whole.astype(np.float32))
        if (pieces[-1].astype(np.int64) != whole).any():
            raise ValueError("a whole number is larger than float32, as which a zoo keeps it, can hold")
        place, before = place + 2 * (end - begin), end
    return np.concatenate([*pieces, words[place:].view(np.float32)])


def widened(vector: np.ndarray, wide: Sequence[Span]) -> np.ndarray:
    """The words of a vector: what `narrowed` undoes."""
    pieces, before = [], 0
    for begin, end in wide:
        pieces += [vector[before:begin].view(np.uint32), vector[begin:end].astype(np.int64).view(np.uint32)]
        before = end
    return np.concatenate([*pieces, vector[before:].view(np.uint32)])


def varying(content: bytes) -> tuple[list[Span], list[Span]]:
    """Where a file has numbers, and where checksums of them. Raises ValueError if it isn't a zip file."""
    numbers: list[Span] = []
    checksums: list[Span] = []
    for name, checksum, begin, end in entries(content):
        folder = name.split(b"/")[1:-1]
        if folder in (NUMBERS, IDENTITY):
            (numbers if folder == NUMBERS else checksums).append((begin, end))
            checksums.append((checksum, checksum + 4))
            if content.startswith(AFTER, end):
                checksums.append((end + 4, end + 8))
    return numbers, checksums


def entries(content: bytes) -> Iterator[tuple[bytes, int, int, int]]:
    """Of each file in a zip file: its name, where its checksum is, where its content begins and ends."""
    if len(content) > LARGEST:
        raise ValueError("too long")
    magic, count, place = END.unpack(content[-END.size :])
    if magic != b"PK\x05\x06":
        raise ValueError("no zip file")
    for _ in range(count):
        magic, _, size, length, extra, comment, file = ENTRY.unpack_from(content, place)
        if magic != b"PK\x01\x02":
            raise ValueError("no entry")
        begin = file + FILE.size + sum(FILE.unpack_from(content, file))
        name = place + ENTRY.size
        yield content[name : name + length], place + CHECKSUM, begin, begin + size
        place = name + length + extra + comment


def replaced(content: bytes, numbers: Sequence[Span], checksums: Sequence[Span], shift: int) -> bytes:
    """The file with every number replaced by its place plus `shift`, and every checksum by another."""
    changed = np.frombuffer(content, np.uint8).copy()
    for begin, end in checksums:
        changed[begin:end] ^= 1
    for begin, end in numbers:
        changed[begin:end] = (np.arange(begin, end, 4, dtype=np.int32) + shift).view(np.uint8)
    return changed.tobytes()


def loaded(content: bytes, architecture: Architecture, variant: int) -> np.ndarray:
    """The bits of all numbers of a file's state. Raises ValueError if they are not as the architecture says."""
    state: Any = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    keys = architecture.variants[variant]
    if state.keys() != set(keys):
        raise ValueError("other keys")
    for key, entry in zip(keys, architecture.tensors, strict=True):
        if list(state[key].shape) != entry.shape or state[key].dtype != DTYPES[entry.dtype]:
            raise ValueError(f"{key} has another shape or type")
    return torch.cat([state[key].reshape(-1).view(torch.int32) for key in keys]).numpy().view(np.uint32)


def spans(places: np.ndarray) -> list[Span]:
    """What lies at these places, four bytes each, with what directly follows taken together."""
    ends = np.flatnonzero(np.diff(places.astype(np.int64)) != 4)
    begins = [0, *(ends + 1)]
    return [(int(places[begin]), int(places[end]) + 4) for begin, end in zip(begins, [*ends, -1], strict=True)]


def between(content: bytes, spans: Sequence[Span]) -> Iterator[tuple[int, bytes]]:
    """What lies before, between and after the spans, and where it begins."""
    place = 0
    for begin, end in [*spans, (len(content), len(content))]:
        if begin > place:
            yield place, content[place:begin]
        place = max(place, end)

"""Many names in one array of bytes: a Python object for each of a million takes long to make."""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

from zoo.format.reading import are_plain_names

PRINTABLE = bytes(range(0x20, 0x7F)).translate(None, b"/\\") + b"\n"  # in plain names, and between them
TAIL = 16  # bytes at a name's end that tell most from each other: those of nodes end with a digest


class Names(Sequence[str]):
    """Names by number, decoded when they are asked for."""

    def __init__(self, lines: "np.ndarray[Any, np.dtype[np.uint8]]"):
        """`lines`: uint8 [bytes], UTF-8, a line break between two names."""
        self.lines, self.view = lines, lines.data
        ends = np.flatnonzero(lines == ord("\n"))
        self.starts = np.concatenate([[0], ends + 1, [len(lines) + 1]])

    def __len__(self) -> int:
        return len(self.starts) - 1

    @overload
    def __getitem__(self, number: int) -> str: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[str]: ...

    def __getitem__(self, number: int | slice) -> str | Sequence[str]:
        if isinstance(number, slice):
            return [self[place] for place in range(len(self))[number]]
        return str(self.view[self.starts[number] : self.starts[number + 1] - 1], "utf-8")

    def __iter__(self) -> Iterator[str]:
        return iter(self.lines.tobytes().decode().split("\n"))

    def are_plain(self) -> bool:
        """Whether each is the plain name of a file."""
        lengths = np.diff(self.starts) - 1
        if lengths.min() > 2 and lengths.max() <= 255 and not self.lines.tobytes().translate(None, PRINTABLE):
            return True
        return are_plain_names(list(self))

    def are_different(self) -> bool:
        return self.have_different_tails() or len(set(self)) == len(self)

    def have_different_tails(self) -> bool:
        """Then they are different; otherwise they may be."""
        if np.diff(self.starts).min() <= TAIL:
            return False
        words = np.ndarray(len(self.lines) - 7, "<u8", self.lines, strides=(1,))  # at each byte the eight from there on
        last, before = (words[self.starts[1:] - 1 - distance] for distance in (8, TAIL))
        mixed = np.sort(last * np.uint64(0x9E3779B97F4A7C15) + before)
        return bool((mixed[1:] != mixed[:-1]).all())

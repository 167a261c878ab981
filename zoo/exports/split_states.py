"""A file per state, and JSON files that say which split each is in: what `splits` and `wildpark` share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.dataset.dataset import SPLITS
from zoo.disk import files
from zoo.exports.content import Content

SPLITS_FILE, ABSOLUTE_FILE = "splits.json", "splits_absolute.json"


def place(node: str, epoch: int) -> Path:
    """Of a state's file in the export."""
    return Path("states") / node / f"{epoch:06d}.pt"


def places(content: Content) -> list[str]:
    pairs = zip(content.states["node"], content.states["epoch"], strict=True)
    return [place(node, epoch).as_posix() for node, epoch in pairs]


def write_splits(content: Content, folder: Path, out: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write `{split: {"path": [...], **columns}}`, with paths from the folder, and once more with absolute paths.

    `folder` is where the export is put together, `out` where it will be.
    """
    paths = places(content)
    files.write_json(folder / SPLITS_FILE, parted(content, {"path": paths, **columns}))
    absolute = [(out / path).as_posix() for path in paths]
    files.write_json(folder / ABSOLUTE_FILE, parted(content, {"path": absolute, **columns}))


def parted(content: Content, columns: Mapping[str, Sequence[Any]]) -> dict[str, dict[str, list[Any]]]:
    """Columns with an item per state, by split."""
    return {
        split: {
            key: [value for value, there in zip(values, content.splits == split, strict=True) if there]
            for key, values in columns.items()
        }
        for split in SPLITS
    }


def measured(content: Content) -> dict[str, list[Any]]:
    """`score`, the test accuracy, where it is known, and `step`, the epoch."""
    accuracies = content.states["test_acc"]
    score = {} if accuracies.isna().any() else {"score": accuracies.tolist()}
    return {**score, "step": content.states["epoch"].tolist()}

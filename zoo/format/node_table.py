"""nodes.csv: every node of a sweep or a zoo, and what varies among them."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.disk import files, paths

NODE = "node"  # the column of names
NAME = re.compile(r"\w[\w.+-]*_[0-9a-f]{10}")

Row = dict[str, Any]


def node_names(folder: Path) -> list[str]:
    return list(read_nodes(folder))


def read_nodes(folder: Path, is_named: Callable[[str], Any] = NAME.fullmatch) -> dict[str, Row]:
    """The varying values of each node by its name; of a sweep of version 0.1.0 the names alone.

    What a power cut left half written is no row. `is_named`: whether a name is whole; by default, one of ours.
    """
    if not paths.nodes(folder).exists():
        path = paths.old_nodes(folder)
        names = path.read_text(encoding="utf-8", errors="replace").split() if path.exists() else []
        return {name: {} for name in names if NAME.fullmatch(name)}
    text = paths.nodes(folder).read_text(encoding="utf-8", errors="replace")
    header, *lines = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    rows = {}
    for line in lines:
        row = dict(zip(header, line, strict=False))
        name = row.pop(NODE, "")
        if len(line) == len(header) and is_named(name):
            rows[name] = {key: parsed(cell) for key, cell in row.items() if cell}
    return rows


def write_nodes(folder: Path, rows: Mapping[str, Mapping[str, Any]], keys: Sequence[str]) -> None:
    """Write the table with the columns `keys`."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow([NODE, *keys])
    table.writerows(cells(name, row, keys) for name, row in rows.items())
    files.write_text(paths.nodes(folder), text.getvalue())


def cells(name: str, row: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    return [name, *(written(row[key]) if key in row else "" for key in keys)]


def written(value: Any) -> str:
    """A text as it is, unless it would be read as something else; all else as JSON."""
    return value if isinstance(value, str) and value and isinstance(parsed(value), str) else json.dumps(value)


def parsed(cell: str) -> Any:
    try:
        return json.loads(cell)
    except ValueError:
        return cell

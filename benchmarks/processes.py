"""What Linux tells of a process and of those that it started."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def family(process: int) -> list[int]:
    """A process, and those that it started."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has just ended
        return []
    return [process, *(member for child in children for member in family(int(child)))]


def memory(process: int) -> float:
    """Resident memory in MB, without what is shared through files."""
    try:
        fields = (line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines())
        return next((int(field[1]) / 1024 for field in fields if field[0] == "RssAnon:"), 0.0)
    except OSError:
        return 0.0


def processor_seconds(process: int) -> float:
    """Of a process, and of those it has waited for."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS

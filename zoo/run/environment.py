"""By what a run was trained: the engine, the versions, the processor. Models differ in the last digits by these."""

import platform
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.disk import files, paths
from zoo.engines.lanes.library import choose
from zoo.errors import ZooError
from zoo.run.lanes_pack import LanesPack
from zoo.run.lightning import pl
from zoo.run.pack import Pack

Environment = dict[str, str | None]

ROOT = Path(__file__).parents[2]


def environment(pack: Pack) -> Environment:
    """What trains the pack, in this process."""
    is_lanes = isinstance(pack, LanesPack)
    return {
        "engine": "lanes" if is_lanes else "torch",
        "variant": choose() if is_lanes else None,
        "device": device_name(pack.device),
        **({} if is_lanes or torch.get_num_threads() == 1 else {"threads": str(torch.get_num_threads())}),
        **of_process(),
    }


@cache
def of_process() -> Environment:
    """What is the same for all that the process trains."""
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pytorch_lightning": pl.__version__,
        "model-zoos": installed("model-zoos"),
        "commit": commit(ROOT),
    }


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def processor() -> str:
    """As the system calls it; Linux has the model's name, others may have only its architecture."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout that was never installed
        return None


def commit(checkout: Path) -> str | None:
    """The commit of this code, with -dirty if files differ from it; None if it is no checkout of its repository."""
    if not (checkout / ".git").exists():
        return None
    command = "git --no-optional-locks describe --always --dirty --exclude=* --abbrev=40".split()
    try:
        done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def note(run: Path, now: Environment, epoch: int) -> None:
    """Make environment.json say that the run is trained in `now` from `epoch` on. A change gets a line on stderr."""
    there = read(run)
    entries = [entry for entry in there if entry["epoch"] < epoch]
    if not entries or without_epoch(entries[-1]) != now:
        if entries:
            changed = differences(without_epoch(entries[-1]), now)
            print(f"{run}: from epoch {epoch} on, {changed}", file=sys.stderr, flush=True)
        entries.append({"epoch": epoch, **now})
    if entries != there:
        files.write_json(paths.environment(run), entries)


def read(run: Path) -> list[dict[str, Any]]:
    """Empty if the file is missing or damaged: what epochs before were trained by is not known then."""
    path = paths.environment(run)
    if not path.exists():
        return []
    try:
        entries = files.read_json(path)
        if all(type(entry["epoch"]) is int for entry in entries):
            return entries
    except (ZooError, KeyError, TypeError):
        pass
    print(f"{path} is damaged, and is begun anew", file=sys.stderr, flush=True)
    return []


def without_epoch(entry: dict[str, Any]) -> Environment:
    return {key: value for key, value in entry.items() if key != "epoch"}


def differences(before: Environment, now: Environment) -> str:
    keys = [key for key in before | now if before.get(key) != now.get(key)]
    return ", ".join(f"{key} is {now.get(key)}, was {before.get(key)}" for key in keys)

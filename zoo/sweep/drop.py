"""`python -m zoo drop SWEEP NODE...`: a sweep without some of its nodes, whose runs are moved beside it."""

import argparse
import fnmatch
from collections.abc import Sequence
from pathlib import Path

from zoo.disk import paths
from zoo.errors import ZooError
from zoo.sweep.status import require_sweep


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = (
        "Drop nodes from a sweep: it no longer plans them, and their runs are moved out of it, into a folder beside it."
    )
    command = commands.add_parser("drop", help="a sweep without some of its nodes", description=text)
    command.add_argument("sweep", type=Path, help="the sweep's directory, such as sweeps/mnist_seed")
    command.add_argument("nodes", nargs="+", metavar="node", help="a node's name, or a pattern such as '*dropout0.5*'")
    command.set_defaults(run=lambda arguments: print(drop(arguments.sweep, arguments.nodes)))


def drop(sweep: Path, patterns: Sequence[str]) -> str:
    """Drop the nodes that match any of the patterns; returns what was done.

    Raises ZooError if there is no such sweep, a pattern matches no node, nothing would be left, or the sweep is in
    training.
    """
    from zoo.sweep.manifest import Manifest  # these import PyTorch, which the other commands need not wait for
    from zoo.sweep.sweep import alone_in

    require_sweep(sweep)
    with alone_in(sweep):
        manifest = Manifest.read(sweep)
        names = [name for pattern in patterns for name in matching(pattern, list(manifest.rows), sweep)]
        left = manifest.dropping(names)
        if not left.rows:
            raise ZooError(f"that would drop all nodes of {sweep}: delete the folder instead")
        left.write()
        moved = [name for name in dict.fromkeys(names) if move(sweep / name, paths.dropped(sweep))]
    text = f"dropped {len(set(names))} of {len(manifest.rows)} nodes from {sweep}"
    return f"{text}; their runs are in {paths.dropped(sweep)}" if moved else text


def matching(pattern: str, names: Sequence[str], sweep: Path) -> list[str]:
    found = fnmatch.filter(names, Path(pattern).name)  # a path, as completion types it, will do
    if not found:
        raise ZooError(f"{sweep} has no node {pattern}: {paths.nodes(sweep)} lists them")
    return found


def move(run: Path, folder: Path) -> bool:
    """Whether there was a run to move. One that was dropped before stays."""
    if not run.exists():
        return False
    folder.mkdir(exist_ok=True)
    target, number = folder / run.name, 1
    while target.exists():
        number += 1
        target = folder / f"{run.name}.{number}"
    run.rename(target)
    return True

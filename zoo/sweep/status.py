"""`python -m zoo status [SWEEP]`: how far a sweep is, in progress or at rest, from its files alone."""

import argparse
import time
from pathlib import Path

from zoo.disk import files, paths
from zoo.disk.locks import is_held
from zoo.errors import ZooError
from zoo.format.latest import latest_sweep
from zoo.format.node_table import node_names
from zoo.format.record import read_whole_records
from zoo.sweep.progress import Tally

RECENT = 120.0  # seconds over which the speed is taken


def require_sweep(folder: Path) -> None:
    if not paths.config(folder).exists():
        raise ZooError(f"{folder} is no sweep: it has no {paths.config(folder).name}")


def survey(sweep: Path) -> Tally:
    """The tally of every node of the sweep. Raises ZooError where there is no sweep."""
    require_sweep(sweep)
    try:
        epochs = files.read_json(paths.config(sweep))["protocol"]["trainer.max_epochs"]
    except (ZooError, KeyError, TypeError) as error:
        raise ZooError(f"{paths.config(sweep)} is damaged: the command that trained the sweep makes it anew") from error
    runs = {sweep / name: epochs for name in node_names(sweep)}
    tally = Tally(runs)
    tally.update(runs)
    tally.failed = {run for run in runs if run not in tally.done and paths.error(run).exists()}
    return tally


def recent_rate(tally: Tally) -> float:
    """Epochs per second over the last `RECENT` seconds, by when the records say that their epochs ended."""
    since = time.time() - RECENT
    ended = 0
    for run, (_, changed) in tally.seen.items():
        moment = changed / 1e9
        for record in reversed(read_whole_records(run)[0][1:] if moment > since else []):
            if moment <= since:
                break
            ended += 1
            moment -= record["time_this_iter_s"]
    return ended / RECENT


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("status", help="how far a sweep is", description="How far a sweep is.")
    help_text = "the sweep's directory, such as sweeps/mnist_seed; without it, the latest in ./sweeps"
    command.add_argument("sweep", type=Path, nargs="?", help=help_text)
    command.set_defaults(run=lambda arguments: print(report(arguments.sweep or latest_sweep(Path("sweeps")))))


def report(sweep: Path) -> str:
    """Whether the sweep is in training, how far it is, and what failed."""
    tally = survey(sweep)
    in_training = is_held(paths.lock(sweep))
    lines = [f"{sweep}: {'in training' if in_training else 'at rest'}"]
    lines += [tally.line(recent_rate(tally) if in_training else 0.0)]
    lines += [f"failed: {paths.error(run)}" for run in sorted(tally.failed)]
    lines += [f"damaged, to be trained on from its last whole epoch: {run}" for run in sorted(tally.damaged)]
    return "\n".join(lines)

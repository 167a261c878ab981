"""`python -m zoo verify`: what is wrong with a zoo, a line a finding."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import ZooError
from zoo.format.escape import one_line


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    add_verify(commands)


def add_verify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = (
        "Read every file of a zoo, and say what contradicts its checksums or the rest of it: a line a finding on "
        "stdout, and exit code 1 if there is any."
    )
    command = commands.add_parser("verify", help="what is wrong with a zoo, if anything", description=text)
    command.add_argument("zoo", type=Path, help="the zoo's folder, such as zoos/mnist_seed, or its zip file")
    of_models = "N models are chosen"
    command.add_argument("--recompute", type=int, metavar="N", default=0, help=f"{of_models}, and evaluated again")
    command.add_argument("--retrain", type=int, metavar="N", default=0, help=f"{of_models}, and trained again")
    command.add_argument("--seed", type=int, default=0, help="which are chosen follows from it (0)")
    text = "execute the zoo's model.py, where its class is none that this package knows: if you know whose zoo it is"
    command.add_argument("--trust", action="store_true", help=text)
    command.set_defaults(run=verify)


def verify(arguments: argparse.Namespace) -> None:
    path, counts = arguments.zoo, (arguments.recompute, arguments.retrain)
    if min(counts) < 0 or arguments.seed < 0:
        raise ZooError("--recompute, --retrain and --seed: give whole numbers, 0 or more")
    if path.is_file():
        if max(counts):
            raise ZooError(f"{path} is one file: unpack it, and give the folder, to evaluate or train its models")
        from zoo.curation.archive import verify_archive  # PyTorch, which the other commands need not wait for

        findings, files = verify_archive(path)
        end(findings, f"{path}: {files:,} files in the zip")
    else:
        end(*verified(path, *counts, arguments.seed, arguments.trust))


def verified(path: Path, recomputed: int, retrained: int, seed: int, trust: bool) -> tuple[list[object], str]:
    """What is wrong with a zoo, and what was looked at."""
    from zoo.curation.recompute import chosen, recompute
    from zoo.curation.verification import verify

    done = verify(path)
    findings: list[object] = [*done.findings.found]
    looked = [f"{path}: {done.files:,} files"]
    if recomputed and done.zoo:
        runs = chosen(done.sound, recomputed, seed)
        findings += recompute(done.zoo, runs, seed, trust)
        looked.append(f"{len(runs)} models evaluated again (--seed {seed})")
    if retrained and done.zoo:
        from zoo.curation.retrain import retrain, summary

        outcomes = retrain(done.zoo, chosen(done.sound, retrained, seed))
        findings += [outcome.finding for outcome in outcomes if outcome.finding]
        looked.append(f"{summary(outcomes)} (--seed {seed})")
    return findings, "; ".join(looked)


def end(findings: Iterable[object], looked: str) -> None:
    """Print the findings, say what was looked at, and exit."""
    lines = [str(finding) for finding in findings]
    for line in lines:
        print(line)
    sys.stdout.flush()
    print(one_line(f"{looked}; {len(lines) or 'no'} finding{'s' * (len(lines) != 1)}"), file=sys.stderr)
    if lines:
        sys.exit(1)

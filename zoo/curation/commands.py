"""`python -m zoo verify | merge | extract`: a zoo checked, united with others, cut."""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from zoo.curation.findings import Finding
from zoo.errors import ZooError
from zoo.format.escape import one_line


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    add_verify(commands)
    add_merge(commands)
    add_extract(commands)


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


def add_merge(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = (
        "Make one zoo of several, which have the same architecture, images and protocol. A model that more than one of "
        "them has must be the same in all."
    )
    command = commands.add_parser("merge", help="one zoo of several", description=text)
    command.add_argument("zoos", type=Path, nargs="+", metavar="zoo", help="a zoo's folder; two or more")
    command.add_argument("--into", type=Path, required=True, help="the new zoo's folder; a zip file is made beside it")
    command.set_defaults(run=merge)


def merge(arguments: argparse.Namespace) -> None:
    from zoo.curation.merge import merge  # PyTorch, which the other commands need not wait for
    from zoo.publication.readme import report

    print(report(arguments.into, merge(arguments.zoos, arguments.into)))


def add_extract(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "Make a zoo of those models of another for which an expression over the columns of models.csv is true."
    command = commands.add_parser("extract", help="a zoo of some models of another", description=text)
    command.add_argument("zoo", type=Path, help="the zoo's folder, such as zoos/mnist_seed")
    command.add_argument("--where", required=True, help="such as 'optim == \"adam\" and test_acc > .9'")
    command.add_argument("--into", type=Path, required=True, help="the new zoo's folder; a zip file is made beside it")
    command.set_defaults(run=extract)


def extract(arguments: argparse.Namespace) -> None:
    from zoo.curation.extract import extract  # PyTorch, which the other commands need not wait for
    from zoo.publication.readme import report

    print(report(arguments.into, extract(arguments.zoo, arguments.where, arguments.into)))


def verify(arguments: argparse.Namespace) -> None:
    path, counts = arguments.zoo, (arguments.recompute, arguments.retrain)
    if min(counts) < 0 or arguments.seed < 0:
        raise ZooError("--recompute, --retrain and --seed: give whole numbers, 0 or more")
    if path.is_file():
        if max(counts):
            raise ZooError(f"{path} is one file: unpack it, and give the folder, to evaluate or train its models")
        from zoo.curation.archive import verify_archive  # PyTorch, which the other commands need not wait for

        findings, files = verify_archive(path)
        end(Done(findings, [f"{path}: {files:,} files in the zip"]))
    else:
        end(verified(path, *counts, arguments.seed, arguments.trust))


@dataclass
class Done:
    """What came of it: findings, what was looked at, and what could not be done, since the zoo is not made for it."""

    findings: list[Finding]
    looked: list[str]
    refused: list[ZooError] = field(default_factory=list)

    @contextlib.contextmanager
    def noting_refusals(self) -> Iterator[None]:
        """What was found before must not be lost by them."""
        try:
            yield
        except ZooError as error:
            self.refused.append(error)


def verified(path: Path, recomputed: int, retrained: int, seed: int, trust: bool) -> Done:
    from zoo.curation.recompute import chosen, recompute
    from zoo.curation.verification import verify

    checked = verify(path)
    done = Done([*checked.findings.found], [f"{path}: {checked.files:,} files"])
    if recomputed and checked.zoo:
        runs = chosen(checked.sound, recomputed, seed)
        with done.noting_refusals():
            done.findings += recompute(checked.zoo, runs, seed, trust)
            done.looked.append(f"{len(runs)} models evaluated again (--seed {seed})")
    if retrained and checked.zoo:
        from zoo.curation.retrain import retrain, summary

        with done.noting_refusals():
            outcomes = retrain(checked.zoo, chosen(checked.sound, retrained, seed))
            done.findings += [outcome.finding for outcome in outcomes if outcome.finding]
            done.looked.append(f"{summary(outcomes)} (--seed {seed})")
    return done


def end(done: Done) -> None:
    """Print the findings, say what was looked at, and exit."""
    for finding in done.findings:
        print(finding)
    sys.stdout.flush()
    count = len(done.findings)
    said = [*done.looked, f"{count or 'no'} finding{'s' * (count != 1)}"]
    print(one_line("; ".join(said)), file=sys.stderr)
    if done.refused:
        sys.exit("\n".join(map(str, done.refused)))
    if count:
        sys.exit(1)

"""`python -m zoo COMMAND`."""

import argparse
import sys
from importlib import import_module

from zoo.errors import ZooError

HYDRAS = {
    "train": "one model, or with -m a sweep of them",
    "analyze": "make a zoo of a sweep",
}
"""The commands whose arguments are Hydra's: train.py and analyze.py of a checkout."""


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name in HYDRAS:
        del sys.argv[1]
        import_module(f"zoo.{name}").main()
    else:
        run(parser())


def parser() -> argparse.ArgumentParser:
    from zoo.curation import commands as curation
    from zoo.curation import convert
    from zoo.exports import export
    from zoo.node import presets  # PyTorch is imported where it is needed: `train --help` takes no second
    from zoo.sweep import drop, status

    made = argparse.ArgumentParser(prog="python -m zoo", description="Model zoos.")
    commands = made.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for name, text in HYDRAS.items():
        commands.add_parser(name, help=text)
    for module in (presets, status, drop, convert, export, curation):
        module.add_command(commands)
    return made


def run(parser: argparse.ArgumentParser) -> None:
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except ZooError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

"""`python -m zoo COMMAND`: everything beside training and collating."""

import argparse
import sys

from zoo.errors import ZooError
from zoo.node import presets
from zoo.sweep import status


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m zoo", description="Model zoos. To train: python train.py; to make a zoo: python analyze.py."
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for module in (presets, status):
        module.add_command(commands)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except ZooError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

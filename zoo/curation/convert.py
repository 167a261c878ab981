"""`python -m zoo convert RAW ZOO`: a zoo of models that were trained elsewhere."""

import argparse
from pathlib import Path


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "a zoo of models that were trained elsewhere"
    parser = commands.add_parser("convert", help=text, description=f"Make {text}: docs/foreign.md.")
    parser.add_argument("raw", type=Path, metavar="RAW", help="a folder, zip file or table; it stays as it is")
    parser.add_argument("zoo", type=Path, metavar="ZOO", help="the folder to make, such as zoos/mnist")
    help_text = "what RAW is: released, small_cnn, wild_park or folder; found out without it"
    parser.add_argument("--from", dest="kind", metavar="KIND", help=help_text)
    parser.add_argument("--data", default="unknown", help="the name of the images that the models were trained on")
    parser.add_argument("--files", choices=("folders", "compact"), default="folders", help="how runs are kept")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    from zoo.curation.conversion import convert  # PyTorch takes seconds, and other commands have no use for it
    from zoo.publication.readme import report

    made = convert(arguments.raw, arguments.zoo, arguments.kind, arguments.data, arguments.files)
    for zoo, summary in made.items():
        print(report(zoo, summary))

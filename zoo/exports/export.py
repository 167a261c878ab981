"""`python -m zoo export ZOO --to FORMAT OUT`: a zoo in the form that other code reads (docs/exports.md)."""

import argparse
from dataclasses import replace
from pathlib import Path

from zoo.disk import files, paths
from zoo.disk.folders import replacing
from zoo.errors import ZooError
from zoo.exports.format import Format, Options, load, names
from zoo.format.reading import json_object

DEFAULTS = Options()
FORMAT = "format"  # the key in export.json that no other file of that name has


def add_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "a zoo in the form that other code reads"
    command = commands.add_parser("export", help=text, description=f"{text.capitalize()}: see docs/exports.md.")
    command.add_argument("zoo", type=Path, help="the zoo's folder, such as zoos/mnist_seed, its zip file, or a sweep")
    command.add_argument("--to", required=True, choices=names(), help="the format")
    command.add_argument("out", type=Path, help="the folder to make; an earlier export there is replaced")
    command.add_argument("--epochs", help="last or best (of each model), all, or numbers such as 0,25,-1")
    command.add_argument("--released-names", action="store_true", help="aiml: name models as the 2022 zoos did")
    command.add_argument("--as-trained", action="store_true", help="aiml: the checkpoints' own bytes and keys")
    command.add_argument("--label", help="splits: the column of models.csv whose values are the classes")
    command.add_argument("--window", type=positive, help="sane: tokens in a sample; without it, all of a model")
    command.add_argument("--token-size", type=positive, help="sane: numbers in a token; without it, all of a channel")
    command.set_defaults(run=lambda arguments: print(run(arguments)))


def positive(text: str) -> int:
    """The whole number in a text. Raises ValueError unless it is above 0."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


def run(arguments: argparse.Namespace) -> str:
    options = Options(
        released_names=arguments.released_names,
        as_trained=arguments.as_trained,
        label=arguments.label,
        window=arguments.window,
        token_size=arguments.token_size,
    )
    return export(arguments.zoo, arguments.to, arguments.out, arguments.epochs, options)


def export(zoo: Path, to: str, out: Path, epochs: str | None = None, options: Options = DEFAULTS) -> str:
    """Make the folder `out`, whole or not at all; returns what was done.

    Raises ZooError if there is no such zoo or format, the format can't hold the zoo, or `out` is something else.
    """
    from zoo.exports.content import Content  # imports PyTorch, which the other commands need not wait for

    format = load(to)
    require_taken(to, format, options)
    require_replaceable(out, zoo)
    content = Content(zoo, epochs or format.epochs, format.finite)
    with replacing(out) as folder:
        format.write(content, folder, replace(options, out=out.resolve()))
        models, states = content.states["id"].nunique(), len(content)
        said = {FORMAT: to, "zoo": zoo.resolve().name, "epochs": epochs or format.epochs, **options.given()}
        files.write_json(paths.export(folder), {**said, "models": models, "states": states})
    return f"{states:,} states of {models:,} models are in {out}, as {to}"


def require_taken(to: str, format: Format, options: Options) -> None:
    if foreign := [name for name in options.given() if name not in format.options]:
        raise ZooError(f"--{foreign[0].replace('_', '-')} is not for --to {to}: leave it out")


def require_replaceable(out: Path, zoo: Path) -> None:
    """Raise ZooError if making `out` would destroy anything but an earlier export."""
    if out.resolve().is_relative_to(zoo.resolve()) or zoo.resolve().is_relative_to(out.resolve()):
        raise ZooError(f"{out} and {zoo} lie one in the other: choose another folder to export to")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not paths.export(out).is_file() or FORMAT not in json_object(paths.export(out)):
        raise ZooError(f"{out} is there and is no earlier export: choose another folder, or move it away")

"""model.py: the source of a model's class, made to be imported without this project."""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.errors import ZooError

LIBRARIES = {"torch", "torchvision"}
AVAILABLE = sys.stdlib_module_names | LIBRARIES

# Keys that describe a choice in conf/ and are no arguments of its class.
DESCRIPTION = ("name", "image_size")

BUILD = '''

# Added to the file that has the model's class; all above is as it was when this copy was made.
def build(params):
    """The model of a params.json (read by json.load), with fresh weights."""
    choice = params["config"]["model"].items()
    return {model}(**{{key: value for key, value in choice if key[0] != "_" and key not in {description}}})
'''


def arguments(choice: Mapping[str, Any]) -> dict[str, Any]:
    """What the function `build` of a model.py calls the class with: the values of a config's `model` as they are."""
    return {key: value for key, value in choice.items() if key[0] != "_" and key not in DESCRIPTION}


def model_source(target: str) -> str:
    """The source of the file that defines `target` (a model's `_target_`), with a function `build` added.

    Imports that file. Raises ZooError if it needs more than Python, torch and torchvision.
    """
    model = imported(target)
    name = getattr(model, "__qualname__", "")
    if "<" in name:
        raise ZooError(f"model._target_={target} is made in a function: define it at the top of its file")
    if model.__module__.partition(".")[0] in LIBRARIES:
        return f"from {model.__module__} import {name}\n" + BUILD.format(model=name, description=DESCRIPTION)
    try:
        path = Path(inspect.getsourcefile(model) or "")
        text = path.read_text(encoding="utf-8")
    except (OSError, TypeError, ValueError) as error:
        raise ZooError(f"model._target_={target} has no file of source code ({error}): put it into one") from error
    return standalone(path, text, name)


def imported(target: str) -> Any:
    """The class or function `package.module.name`. Imports the module. Raises ZooError if there is none."""
    try:
        module, names = imported_module(target)
        found: Any = module
        for name in names:
            found = getattr(found, name)
        if not callable(found):
            raise TypeError("it is no class")
        return found
    except Exception as error:  # importing a user's file raises whatever it raises
        raise ZooError(
            f"model._target_={target} can't be imported ({error}): put the folder of its file on PYTHONPATH"
        ) from error


def imported_module(target: str) -> tuple[ModuleType, list[str]]:
    """The module in a dotted name, and the names after it."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 1, -1):
        name = ".".join(parts[:length])
        try:
            return importlib.import_module(name), parts[length:]
        except ModuleNotFoundError as error:
            if not f"{name}.".startswith(f"{error.name}."):
                raise  # it is there, and imports what is not
    return importlib.import_module(parts[0]), parts[1:]


def standalone(path: Path, text: str, model: str) -> str:
    """The source `text` of `path` with a function `build` added, which builds the class `model`.

    Raises ZooError if that file needs more than Python, torch and torchvision.
    """
    tree = parsed(text)
    if tree is None:
        raise ZooError(f"{path} is no Python source")
    foreign = sorted({name for name in imports(tree) if name.split(".")[0] not in AVAILABLE})
    if foreign:
        raise ZooError(
            f"{path} imports {', '.join(foreign)}, but a zoo's model.py must do with torch and torchvision: "
            "move what the model needs into that file"
        )
    if defines(tree, "build"):
        raise ZooError(f"{path} defines `build`, which model.py needs for its own: give yours another name")
    return text.rstrip() + "\n" + BUILD.format(model=model, description=DESCRIPTION)


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, at the top or within; a relative one begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def defines(tree: ast.Module, name: str, kinds: tuple[type[ast.AST], ...] = (ast.ClassDef, ast.FunctionDef)) -> bool:
    """Whether there is a class or a function of that name at the top of a file."""
    return any(isinstance(node, kinds) and getattr(node, "name", None) == name for node in tree.body)


def is_model_source(text: str) -> bool:
    """Whether it is what this module makes, whole: Python with a function `build`. Nothing of it is executed."""
    tree = parsed(text)
    return tree is not None and defines(tree, "build")


def parsed(text: str) -> ast.Module | None:
    """The syntax tree of a Python source; None of anything else. Nothing of it is executed."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None

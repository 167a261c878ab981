"""model.py: the source of a model class, made to be imported without this project."""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.utils import get_object
from torch import nn

from zoo.errors import ZooError
from zoo.node.build import DESCRIPTION

AVAILABLE = sys.stdlib_module_names | {"torch", "torchvision"}

BUILD = '''

# Added when the zoo was made; all above is the file that the models were trained with.
def build(params):
    """The model of a params.json (read by json.load), with fresh weights."""
    choice = params["config"]["model"].items()
    return {model}(**{{key: value for key, value in choice if key[0] != "_" and key not in {description}}})
'''


def standalone(target: str) -> str:
    """The source of the file that defines the class `target` (a model's `_target_`), with a function `build` added.

    Raises ZooError if that file needs more than Python, torch and torchvision.
    """
    try:
        model = get_object(target)
        path = Path(inspect.getsourcefile(model) or "")
        source = path.read_text(encoding="utf-8")
    except Exception as error:  # importing a user's file raises whatever it raises
        raise ZooError(
            f"model._target_={target} can't be imported ({error}): put the folder of its file on PYTHONPATH"
        ) from error
    tree = ast.parse(source)
    foreign = sorted({name for name in imports(tree) if name.split(".")[0] not in AVAILABLE})
    if foreign:
        raise ZooError(
            f"{path} imports {', '.join(foreign)}, but a zoo's model.py must do with torch and torchvision: "
            "move what the model needs into that file"
        )
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == "build" for node in tree.body):
        raise ZooError(f"{path} defines `build`, which model.py needs for its own: give yours another name")
    return source.rstrip() + "\n" + BUILD.format(model=model.__qualname__, description=DESCRIPTION)


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module that is imported, at the top or within; a relative one begins with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def builder(source: str, target: str) -> Callable[[Mapping[str, Any]], nn.Module]:
    """The function `build` of a model.py that `standalone` made of `target`."""
    namespace: dict[str, Any] = {"__name__": get_object(target).__module__}
    exec(compile(source, target, "exec"), namespace)
    return namespace["build"]

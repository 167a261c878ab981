"""PyTorch's compiler (torch._dynamo), imported when something is compiled.

PyTorch and Lightning import it to say what is never to be compiled, and to recognise what was: 1.6 seconds of the five
that a process needed until it could train. Nothing here compiles. So in a process that imports this module, a stand-in
answers just that; whoever wants anything else of the compiler, such as `torch.compile`, gets it.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

NAME = "torch._dynamo"


class StandIn(ModuleType):
    """In `sys.modules` under the compiler's name until that is imported."""

    __path__: list[str] = []  # a package, so that `Parts` is asked for its submodules

    class OptimizedModule:
        """What nothing is an instance of: no model was compiled before the compiler is there."""

    @staticmethod
    def disable(fn: Callable | None = None, *_: Any, **__: Any) -> Callable:
        """The function as it is, or a decorator that leaves it so: it is not compiled anyway."""
        return fn or (lambda function: function)

    @staticmethod
    def graph_break(*_: Any, **__: Any) -> None:
        """What ends a piece of compiled code, of which there is none."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked by those who look through all modules
            raise AttributeError(name)
        return getattr(compiler(), name)


def is_there() -> bool:
    """Whether the compiler is imported, since something asked for it."""
    return not isinstance(sys.modules.get(NAME), StandIn)


def compiler() -> ModuleType:
    """The compiler itself, from now on under its name."""
    if not is_there():
        del sys.modules[NAME]
    return importlib.import_module(NAME)


class Parts(Loader):
    """A finder (see `sys.meta_path`) and loader of the compiler's submodules, which come with the compiler itself."""

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if is_there() or not name.startswith(f"{NAME}."):
            return None
        compiler()
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: that was done."""


if NAME not in sys.modules:
    sys.modules[NAME] = StandIn(NAME)
    sys.meta_path.append(Parts())

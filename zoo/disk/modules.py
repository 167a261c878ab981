"""Where the code of a module lies, found without executing any: neither it nor the packages that it is in."""

import importlib.util
from importlib.machinery import PathFinder
from pathlib import Path


def file_of(module: str) -> Path | None:
    """The file of a module, if there is one."""
    head, *rest = parts = module.split(".")
    if not all(map(str.isidentifier, parts)):
        return None
    try:
        spec = importlib.util.find_spec(head)
        for name in rest:
            if spec is None or spec.submodule_search_locations is None:
                return None
            spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))  # looks at the last name alone
    except (ImportError, ValueError):
        return None
    origin = spec.origin if spec and spec.has_location else None
    return Path(origin) if origin and origin.endswith(".py") else None


def file_defining(target: str) -> Path | None:
    """The file of the module in `package.module.name`, a class or function, which may itself lie in a class."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if file := file_of(".".join(parts[:length])):
            return file
    return None

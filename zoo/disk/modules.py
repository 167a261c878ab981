"""Where the code of a module lies, found without executing any: neither it nor the packages that it is in."""

import ast
import importlib.util
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

KINDS = ("stdlib", "platstdlib", "purelib", "platlib")
PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = (PACKAGE, *(Path(sysconfig.get_path(kind)).resolve() for kind in KINDS))
INSTALLED_NAMES = {"site-packages", "dist-packages"}  # wherever they are: a user's, a system's


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


def module_defining(target: str) -> str | None:
    """The module in `package.module.name`, a class or function, which may itself lie in a class; if it has a file."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if file_of(module := ".".join(parts[:length])):
            return module
    return None


def file_defining(target: str) -> Path | None:
    """The file of that module."""
    module = module_defining(target)
    return file_of(module) if module else None


def is_installed(file: Path) -> bool:
    """Whether its version identifies it (see a run's environment.json): Python's own code, that of packages, ours."""
    file = file.resolve()
    return bool(INSTALLED_NAMES & set(file.parts)) or any(file.is_relative_to(folder) for folder in INSTALLED)


def with_own_imports(module: str) -> dict[str, Path]:
    """The files of a module and of all that it imports, and these import, but for what is installed; by their modules.

    Read, not executed: a module that is only found while its importer runs (`importlib.import_module`) is not seen.
    """
    first = file_of(module)
    found = {module: first.resolve()} if first else {}
    waiting = list(found)
    while waiting:
        importer = waiting.pop()
        for name in imported_by(importer, found[importer]):
            file = file_of(name)
            if file and not is_installed(file) and file.resolve() not in found.values():
                found[name] = file.resolve()
                waiting.append(name)
    return found


def imported_by(module: str, file: Path) -> list[str]:
    """Every module that a module's file may import, at the top or within, and the packages that it and they lie in."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    names = [module]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (base := absolute(node, package)):
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]  # of a package, names can be modules
    parents = {name.rpartition(".")[0] for name in with_parents(names)}
    return sorted({*names, *(name for name in parents if has_content(name))} - {module})


def absolute(node: ast.ImportFrom, package: str) -> str | None:
    """The module that names are imported from; None for a relative one that leads out of the package."""
    if not node.level:
        return node.module
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return None


def with_parents(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        while name:
            yield name
            name = name.rpartition(".")[0]


def has_content(package: str) -> bool:
    """Whether importing a package runs any code."""
    file = file_of(package) if package else None
    return bool(file and file.read_bytes().strip())

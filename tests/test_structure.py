"""Data flows one way: a module imports only from what stands before it here (docs/architecture.md)."""

import ast
from pathlib import Path

ORDER = [
    *("errors", "paths", "files", "random"),
    *("data", "models", "init", "augment", "lanes", "released", "node", "resolvers", "grid", "presets", "build"),
    *("record", "engine", "packing", "pack", "torch_pack", "lanes_pack", "recorder", "run"),
    *("progress", "check", "manifest", "sweep", "status"),
    *("worker", "launch", "single", "local", "training_process", "dask"),
    *("reading", "architecture", "standalone", "weights", "folders", "tables", "dataset"),
    *("escape", "summary", "figures", "analyze", "card", "runs", "collate"),
    "__main__",
]
PACKAGE = Path(__file__).parent.parent / "zoo"


def concept(module: str) -> str | None:
    """`zoo.data.images` belongs to the concept `data`; None for what is not the project's."""
    parts = module.split(".")
    return parts[1] if parts[0] == "zoo" and len(parts) > 1 else None


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {concept(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "zoo":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(concept(node.module))
    return found - {None}


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} == {
        "__init__",
        *ORDER,
    }


def test_nothing_imports_what_stands_after_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        own = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if own == "__init__":
            continue
        later = {name for name in imports(path) if ORDER.index(name) > ORDER.index(own)}
        assert not later, f"{path} imports {later}"


def test_no_module_but_paths_spells_a_file_name() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name in ("paths.py", "sources.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in ("checkpoints", "optimizer.pt", "params.json"):
                raise AssertionError(f"{path}, line {node.lineno} spells {node.value!r}: use zoo.paths")

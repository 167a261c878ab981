"""Data flows one way: a folder imports only from what it is allowed to here (docs/architecture.md)."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "zoo"

# What each folder may import of the project's: two wings over one ground.
GROUND = {
    "errors": set(),
    "random": set(),
    "processes": {"errors"},
    "installation": set(),
    "disk": {"errors"},
    "data": {"errors", "disk"},
    "models": {"data"},
    "engines": {"errors"},
    "format": {"errors", "disk", "data", "installation"},
}
MAKES = ["node", "run", "sweep", "launch"]  # the right wing, in the order in which data flows
USES = ["foreign", "dataset", "analysis", "publication", "exports"]  # the left wing
ALLOWED = dict(GROUND)
for number, folder in enumerate(MAKES):
    ALLOWED[folder] = {*GROUND, *MAKES[:number]}
for number, folder in enumerate(USES):
    ALLOWED[folder] = {*GROUND, *USES[:number]}
ALLOWED["node"] |= {"foreign", "dataset"}  # in one module: training can start from any zoo that can be opened
ALLOWED["collation"] = {*GROUND, "node", "run"}  # joins the wings
ALLOWED["curation"] = {*GROUND, *MAKES, "collation", *USES}  # checks, unites and cuts zoos; trains some again
ALLOWED["__init__"] = {"dataset"}
ALLOWED["tensorflow"] = {"errors", "disk"}  # what an export for TensorFlow is read by
ALLOWED["train"] = {*GROUND, *MAKES}
ALLOWED["analyze"] = {*GROUND, *MAKES, "collation", *USES}
ALLOWED["__main__"] = {"errors", "train", "analyze", "curation", *MAKES, *USES}

HEAVY = {"hydra", "pytorch_lightning"}
LIGHT = {"errors", "random", "installation", "disk", "format", *USES}  # for those who only read zoos


def imports(path: Path) -> set[str]:
    """Every module that a file imports, at the top or within, as a dotted name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def folder_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_every_folder_has_its_place() -> None:
    assert {folder_of(path) for path in PACKAGE.rglob("*.py")} == set(ALLOWED)


def test_nothing_imports_what_stands_after_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        own = folder_of(path)
        imported = {name.split(".")[1] for name in imports(path) if name.startswith("zoo.")}
        assert imported <= {own, *ALLOWED[own], "ZooDataset"}, f"{path} imports {imported - ALLOWED[own] - {own}}"


def test_of_those_that_make_zoos_one_module_opens_some() -> None:
    opening = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if folder_of(path) in MAKES and {name.split(".")[1] for name in imports(path) if name.count(".")} & set(USES)
    }
    assert opening == {"node/parent_zoo.py"}


def test_reading_a_zoo_needs_neither_hydra_nor_lightning() -> None:
    for path in PACKAGE.rglob("*.py"):
        if folder_of(path) in LIGHT:
            heavy = {name for name in imports(path) if name.split(".")[0] in HEAVY}
            assert not heavy, f"{path} imports {heavy}"
    code = f"import sys; from zoo import ZooDataset; print([name for name in sys.modules if name in {HEAVY}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_tests_stand_where_their_modules_do() -> None:
    modules = {path.relative_to(PACKAGE).parent / path.stem for path in PACKAGE.rglob("*.py")}
    for path in (ROOT / "tests").glob("*/test_*.py"):
        folder = path.parent.name
        assert folder in ALLOWED and folder in {module.parts[0] for module in modules}, path


def test_no_module_but_paths_spells_a_file_name() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name in ("paths.py", "sources.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value in ("checkpoints", "optimizer.pt", "params.json"):
                raise AssertionError(f"{path}, line {node.lineno} spells {node.value!r}: use zoo.disk.paths")

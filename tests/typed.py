"""Commands as users type them, in this process: importing PyTorch again takes seconds."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from zoo import __main__, analyze, train
from zoo.launch.worker import Outcome
from zoo.node.node import Node

ROOT = Path(__file__).parent.parent
MAINS = {"train": train.main, "analyze": analyze.main}


class InThisProcess:
    """Workers of `hydra/launcher=zoo`, for what is not about processes."""

    processes = 1

    def __init__(self, processes: int, forking: bool = True):
        pass

    def grow(self, least: int) -> None:
        pass

    limit = grow

    def capacity(self) -> int:
        return 1

    def submit(self, function: Callable[[Sequence[Node]], list[Outcome]], nodes: Sequence[Node]) -> Future:
        future: Future = Future()
        future.set_result(function(nodes))
        return future

    def ended(self, future: Future) -> None:
        pass

    def stop(self) -> None:
        pass


def zoo_command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    """What `python -m zoo ARGUMENTS` exits with: a code, None if all is well; or the error's message."""
    monkeypatch.setattr(sys, "argv", ["zoo", *map(str, arguments)])
    try:
        __main__.main()
    except SystemExit as end:
        return end.code
    return None


def run_as_elsewhere(code: str, folder: Path) -> None:
    """Run the code in the folder as `python -c` does where this project is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("zoo", "model")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "zoo", None)
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        try:
            exec(code, {"__name__": "__main__"})
        finally:
            sys.modules.pop("model", None)  # the zoo's own


def typed(monkeypatch: pytest.MonkeyPatch, cwd: Path, name: str, *arguments: str) -> str | int | None:
    """What `python NAME.py ARGUMENTS` exits with: the error's message; or a code, None if all is well."""
    monkeypatch.chdir(cwd)
    flags = [
        f"--config-path={ROOT}/conf",
        f"--config-dir={ROOT}/tests/conf",
        *[a for a in arguments if a.startswith("-")],
    ]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *flags, *[a for a in arguments if not a.startswith("-")]])
    try:
        MAINS[name]()
    except SystemExit as end:
        return end.code
    return None

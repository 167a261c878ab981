"""Commands as users type them, in this process: importing PyTorch again takes seconds."""

import sys
from pathlib import Path

import pytest

import analyze
import train
from zoo.node.clear_errors import clear_errors

ROOT = Path(__file__).parent.parent
MAINS = {"train": train.main, "analyze": analyze.main}


def typed(monkeypatch: pytest.MonkeyPatch, cwd: Path, name: str, *arguments: str) -> str | int | None:
    """What `python NAME.py ARGUMENTS` exits with: the error's message; or a code, None if all is well."""
    monkeypatch.chdir(cwd)
    flags = [f"--config-path={ROOT}/conf", f"--config-dir={ROOT}/tests/conf"]
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *flags, *arguments])
    try:
        with clear_errors(example="key=1"):
            MAINS[name]()
    except SystemExit as end:
        return end.code
    return None

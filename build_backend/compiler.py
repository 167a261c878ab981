"""Which C++ compiler builds the kernels. The build backend and setup.py use this file alone: standard library only."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

CLANG = "ziglang"
"""The package on PyPI that carries Clang, with C++'s and C's libraries."""

PROGRAM = """
#include <stdexcept>
#include <vector>
int last(const std::vector<int>& v) { return v.empty() ? throw std::runtime_error("none") : v.back(); }
"""


def found() -> list[str] | None:
    """The first command, as words, that can build a C++ library with what is on this machine; None if there is none."""
    return next((command for command in candidates() if works(command)), None)


def command() -> list[str]:
    """The same, or else Clang from the package. Raises RuntimeError if that is not installed either."""
    if chosen := found():
        return chosen
    if not importlib.util.find_spec(CLANG):
        raise RuntimeError("no C++ compiler works here: install one, or set CXX to one")
    # baseline: else it would build for this very processor, and `portable` would be no longer that
    return [sys.executable, "-m", CLANG, "c++", "-mcpu=baseline"]


def candidates() -> Iterator[list[str]]:
    """CXX, or what belongs to CC, if the user says so; or else Python's own compiler, and those with usual names."""
    if chosen := os.environ.get("CXX") or for_cpp(os.environ.get("CC", "")):
        yield shlex.split(chosen)
        return
    yield shlex.split(sysconfig.get_config_var("CXX") or "c++")
    yield from (["c++"], ["g++"], ["clang++"])


def for_cpp(c_compiler: str) -> str:
    """The C++ compiler beside one for C: `g++-12` for `gcc-12`, `c++` for `cc`."""
    names = {"gcc": "g++", "clang": "clang++", "cc": "c++"}
    pattern = r"(gcc|clang|\bcc)(?![+a-z])(?=[^/\s]*(\s|$))"  # in the program's name, not in its folder's
    return re.sub(pattern, lambda match: names[match[1]], c_compiler)


def works(command: list[str]) -> bool:
    """Whether it compiles and links a small library. (There are compilers without headers, and names without one.)"""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "program.cpp")
        source.write_text(PROGRAM)
        arguments = ["-std=c++17", "-fPIC", "-shared", str(source), "-o", str(Path(folder, "program.so"))]
        try:
            return subprocess.run([*command, *arguments], capture_output=True).returncode == 0
        except OSError:
            return False

"""The build backend (PEP 517): setuptools, and a C++ compiler from PyPI where this machine has none that works."""

import platform
from typing import Any

import compiler
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403  all other hooks are setuptools' own

Settings = dict[str, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *clang()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *clang()]


def clang() -> list[str]:
    """The package that is missing to build the kernels, where there is one for this system."""
    return [] if platform.system() not in ("Linux", "Darwin") or compiler.found() else [compiler.CLANG]

"""The files of code that a user gave a config: own networks, images, optimizers, initialisations."""

import hashlib
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from zoo.disk.modules import file_defining

# Where code is that its version identifies (see a run's environment.json), and not its source.
KINDS = ("stdlib", "platstdlib", "purelib", "platlib")
INSTALLED = (Path(__file__).resolve().parents[1], *(Path(sysconfig.get_path(kind)).resolve() for kind in KINDS))


@dataclass(frozen=True)
class UserCode:
    """A file of code, as it is when first looked at."""

    file: Path

    @cached_property
    def text(self) -> bytes:
        return self.file.read_bytes()

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.text).hexdigest()[:16]


def user_code(config: Mapping[str, Any]) -> dict[str, UserCode]:
    """The file that each config group's `_target_` (for images, `source`) lies in, where it is the user's own."""
    found = {}
    for group, choice in config.items():
        if isinstance(choice, Mapping):
            for target in targets(choice):
                if code := code_of(target):
                    found[group] = code
    return found


def targets(choice: Mapping[str, Any]) -> Iterator[str]:
    for key, value in choice.items():
        if isinstance(value, Mapping):
            yield from targets(value)
        elif key in ("_target_", "source") and isinstance(value, str):
            yield value


@cache
def code_of(target: str) -> UserCode | None:
    """The file of `package.module.name`, if it can be found and is none that is installed."""
    file = file_defining(target)
    if file is None or any(file.resolve().is_relative_to(folder) for folder in INSTALLED):
        return None
    return UserCode(file.resolve())

"""The files of code that a user gave a config: own networks, images, optimizers, initialisations, callbacks."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from zoo.disk.modules import INSTALLED, module_defining, with_own_imports
from zoo.node.callbacks import changing

HYDRAS = ("hydra.utils.", "hydra._internal.utils.")  # functions such as get_method, whose arguments name code


@dataclass(frozen=True)
class UserCode:
    """The files that a choice of one config group is made of, by their modules: those that it names, then others that
    these import. As they are when first looked at."""

    files: Mapping[str, Path]

    @property
    def file(self) -> Path:
        return next(iter(self.files.values()))

    @cached_property
    def texts(self) -> dict[str, bytes]:
        return {module: file.read_bytes() for module, file in self.files.items()}

    @property
    def text(self) -> bytes:
        return next(iter(self.texts.values()))

    @cached_property
    def digest(self) -> str:
        """Of a file alone that of its text, so that names of models stay what they were."""
        if len(self.files) == 1:
            return short_digest(self.text)
        lines = [f"{module} {short_digest(text)}" for module, text in sorted(self.texts.items())]
        return short_digest("\n".join(lines).encode())


def short_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def user_code(config: Mapping[str, Any]) -> dict[str, UserCode]:
    """Of each config group, the user's own files that its `_target_`s (for images, `source`) lie in.

    Of the Trainer, those of callbacks that may change what is trained.
    """
    found = {}
    for group, choice in config.items():
        if group == "trainer":
            choice = {"callbacks": changing(choice)}
        if isinstance(choice, Mapping) and (code := code_of(*targets(choice))):
            found[group] = code
    return found


def targets(value: Any) -> Iterator[str]:
    """The dotted names of classes and functions in a config, however deep."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from targets(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key in ("_target_", "source") and isinstance(item, str):
                yield item
            else:
                yield from targets(item)
        if str(value.get("_target_")).startswith(HYDRAS):
            yield from (text for text in strings(value) if not text.startswith(HYDRAS))


def strings(value: Mapping[str, Any]) -> Iterator[str]:
    """Those among the values, and in the list of arguments."""
    for item in [*value.values(), *(value.get("_args_") or ())]:
        if isinstance(item, str):
            yield item


@cache
def code_of(*targets: str) -> UserCode | None:
    """The files of all `package.module.name`, and what these import, without those that are installed or not found."""
    modules = [module for module in map(module_defining, dict.fromkeys(targets)) if module]
    closures = [files for module in modules if is_own((files := with_own_imports(module))[module])]
    named = {file: module for files in closures for module, file in [next(iter(files.items()))]}
    others = {file: module for files in closures for module, file in files.items() if file not in named}
    files = {module: file for file, module in {**named, **others}.items()}
    return UserCode(files) if files else None


def is_own(file: Path) -> bool:
    """Whether it is neither the project's own code nor installed beside it."""
    return not any(file.is_relative_to(folder) for folder in INSTALLED)

"""What a format is, and which there are: each is a module in the folder `formats`, known by its name."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError
from zoo.exports import formats

if TYPE_CHECKING:  # which import PyTorch: the names of the formats are wanted without
    from zoo.exports.content import Content


@dataclass(frozen=True)
class Options:
    """What one can say of an export beside the epochs; a format takes some of them."""

    out: Path = Path()  # where it will be, absolute
    released_names: bool = False
    as_trained: bool = False
    label: str | None = None
    window: int | None = None
    token_size: int | None = None

    def given(self) -> dict[str, Any]:
        """Those that say something."""
        said = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "out"}
        return {name: value for name, value in said.items() if value not in (None, False)}


@dataclass(frozen=True)
class Format:
    """`write(content, folder, options)` puts an export into an empty folder. The format's module has it as FORMAT."""

    write: Callable[["Content", Path, Options], None]
    epochs: str  # that are taken where none are asked for: last, or all
    options: tuple[str, ...] = ()  # the fields of Options that it takes
    finite: bool = True  # whether states with weights that are not finite are left out


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(formats.__path__))


def load(name: str) -> Format:
    """The format of this name. Raises ZooError if there is none, or if it needs a package that is not installed."""
    if name not in names():
        raise ZooError(f"there is no format {name!r}: choose from {', '.join(names())}")
    try:
        return import_module(f"{formats.__name__}.{name}").FORMAT
    except ModuleNotFoundError as error:
        raise ZooError(f"--to {name} needs the package {error.name}: pip install 'model-zoos[export]'") from error

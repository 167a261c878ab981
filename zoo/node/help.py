"""What `--help` lists, found fast: before it lists a group, Hydra's config loader copies all that it knows (5 ms)."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType


def choices() -> str:
    """Each config group and what can be chosen of it, a line a group; without the folders of what choices share."""
    return choices_in(str(GlobalHydra.instance().config_loader().get_search_path()))


@functools.cache  # Hydra asks at every composition
def choices_in(search_path: str) -> str:
    """Of Hydra's config loader, whose search path this is."""
    loader = GlobalHydra.instance().config_loader()
    groups = sorted(set(options(loader, "", ObjectType.GROUP)) - {"hydra", "analysis"})
    return "\n".join(f"{group}: {', '.join(sorted(options(loader, group)))}" for group in groups)


def options(loader: Any, group_name: str, results_filter: ObjectType | None = ObjectType.CONFIG) -> list[str]:
    """As the loader's own `get_group_options`, which without overrides looks where this does."""
    return loader.repository.get_group_options(group_name, results_filter)


@contextmanager
def quick_lists() -> Iterator[None]:
    """Around a command: to print a help, Hydra lists all groups, its own too, twice, whether it shows them or not."""
    slow = ConfigLoaderImpl.get_group_options
    ConfigLoaderImpl.get_group_options = options  # type: ignore[assignment,method-assign]  # Hydra gives no overrides
    try:
        yield
    finally:
        ConfigLoaderImpl.get_group_options = slow  # type: ignore[method-assign]

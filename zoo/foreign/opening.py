"""Which reader a path made elsewhere is for."""

from collections.abc import Callable, Mapping
from pathlib import Path

from zoo.errors import ZooError
from zoo.foreign.folder import open_folder
from zoo.foreign.population import Population
from zoo.foreign.released import open_released
from zoo.foreign.small_cnn import open_small_cnn
from zoo.foreign.wild_park import open_wild_park

Reader = Callable[[Path], Mapping[str, Population] | None]


def alone(opener: Callable[[Path], Population | None]) -> Reader:
    """A reader of what is one population."""

    def read(path: Path) -> Mapping[str, Population] | None:
        found = opener(path)
        return {"": found} if found else None

    return read


# By the names that `convert --from` takes, in the order in which they look at a path.
READERS: dict[str, Reader] = {
    "released": alone(open_released),
    "small_cnn": alone(open_small_cnn),
    "wild_park": open_wild_park,
    "folder": alone(open_folder),
}


def open_populations(path: Path, kind: str | None = None) -> Mapping[str, Population]:
    """The populations at a path, by name where it holds several. Raises ZooError if there are none, or of this kind."""
    if kind is not None and kind not in READERS:
        raise ZooError(f"unknown kind {kind!r}: choose from {', '.join(READERS)}")
    for name, reader in READERS.items():
        if kind in (None, name) and (found := reader(path)):
            return found
    what = f"no {kind} population" if kind else f"no population of a known kind ({', '.join(READERS)})"
    raise ZooError(f"{path} holds {what}: docs/foreign.md says what is read")


def open_foreign(path: Path) -> Population | None:
    """The population at a path, as a source of `zoo.ZooDataset`; None if there is none of a known kind."""
    for reader in READERS.values():
        if found := reader(path):
            if len(found) > 1:
                raise ZooError(
                    f"{path} holds models of {len(found)} architectures, and a dataset has one: "
                    "`python -m zoo convert` makes a zoo of each"
                )
            return next(iter(found.values()))
    return None

"""How a ZooError comes through Hydra: as its message, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from hydra.errors import CompactHydraException

from zoo.errors import ZooError


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn a ZooError into the exception of which Hydra prints the message alone."""
    try:
        yield
    except ZooError as error:
        raise CompactHydraException(str(error)) from error

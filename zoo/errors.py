"""The one error that users are meant to see."""

from hydra.errors import CompactHydraException


class ZooError(CompactHydraException, ValueError):
    """Bad input: the message says what is wrong, where, and what to do. Hydra prints it without a traceback."""

"""The one error that users are meant to see."""


class ZooError(ValueError):
    """Bad input: the message says what is wrong, where, and what to do."""

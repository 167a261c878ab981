"""The one error that users are meant to see."""


class ZooError(ValueError):
    """Bad input: the message says what is wrong, where, and what to do."""


def one_line(error: BaseException) -> str:
    """What an error says whose message may have many lines."""
    return " ".join(str(error).split()) or type(error).__name__

class DataError(RuntimeError):
    """Images that cannot be had as configured; the message says what to do."""

from zoo.errors import ZooError


class DataError(ZooError):
    """Images that cannot be had as configured."""

"""The images that models are trained on."""

from zoo.data.errors import DataError
from zoo.data.images import Images, Split

__all__ = ["DataError", "Images", "Split"]

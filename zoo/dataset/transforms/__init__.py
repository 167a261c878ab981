"""What those who learn from weights do to them, as callables that compose: torchvision's Compose, or one in another.

Each takes weights [..., parameters]: of one state, of a window of epochs, of a batch of either, as `batched` tells
ZooDataset. docs/transforms.md.
"""

from zoo.dataset.transforms.alignment import Align
from zoo.dataset.transforms.noise import Erase, Noise
from zoo.dataset.transforms.permutation import Axis, Group, PermutationSpec, Permute
from zoo.dataset.transforms.standardise import Standardise
from zoo.dataset.transforms.statistics import Statistics
from zoo.dataset.transforms.tokens import Tokenise, Tokens

__all__ = [
    "Align",
    "Axis",
    "Erase",
    "Group",
    "Noise",
    "PermutationSpec",
    "Permute",
    "Standardise",
    "Statistics",
    "Tokenise",
    "Tokens",
]

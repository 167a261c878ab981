"""State-dict keys that do not depend on dropout, as those who read zoos expect them."""

from zoo.format.architecture import Architecture

# By the shapes of all weights but the first, which has the channels of the images, and the last, which has the classes:
# the numbers that layers have in `module_list` without dropout. CNN-l's are the same with and without it.
NUMBERS: dict[tuple[tuple[int, ...], ...], tuple[int, ...]] = {((6, 8, 5, 5), (4, 6, 2, 2), (20, 36)): (0, 3, 6, 9, 11)}


def keys(architecture: Architecture, variant: int) -> list[str]:
    """The keys of a variant's tensors: those without dropout where dropout shifts them, or else its own."""
    own = architecture.variants[variant]
    shapes = tuple(tuple(entry.shape) for entry in architecture.tensors if entry.name == "weight")
    numbers = NUMBERS.get(shapes[1:-1])
    if numbers is None or len(own) != 2 * len(numbers) or not all(key.startswith("module_list.") for key in own):
        return own
    return [f"module_list.{numbers[entry.layer]}.{entry.name}" for entry in architecture.tensors]

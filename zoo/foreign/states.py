"""Single states from files of anyone: read without unpickling where another file has shown what lies where."""

import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.errors import ZooError, one_line
from zoo.format.architecture import Architecture
from zoo.format.layout import Layout

LAYOUTS = 16  # at most, of one population: variants, versions of PyTorch
UNPACKED = 2**20  # bytes that a checkpoint may unpack to beyond its size: PyTorch compresses nothing
SHARED = 4  # how often the numbers of a file may turn up in its tensors

State = Mapping[str, Tensor]
Unwrap = Callable[[Any], Any]  # what a file holds -> its state dict


def damaged(path: Path, why: object) -> ZooError:
    return ZooError(f"{path} is damaged or no checkpoint ({one_line(ValueError(why))[:300]}): get it anew")


def unpickled(path: Path, content: bytes) -> Any:
    """What a file of tensors and plain values holds. Raises ZooError, which names `path`, for anything else."""
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as archive:
                if sum(info.file_size for info in archive.infolist()) > len(content) + UNPACKED:
                    raise ValueError("it would unpack to more than it has bytes")
        return torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the bytes lead it to
        raise damaged(path, error) from error


def state_in(path: Path, content: bytes, unwrap: Unwrap) -> dict[str, Tensor]:
    """The state dict in a file. Raises ZooError if there is none, or if its tensors are larger than the file."""
    if content.startswith(b"PK") or not is_safetensors(content):
        found = unpickled(path, content)
    else:
        from safetensors.torch import load

        try:
            found = load(content)
        except Exception as error:  # whatever the bytes lead to
            raise damaged(path, error) from error
    try:
        state = unwrap(found)
    except Exception as error:  # it may hold anything
        raise damaged(path, f"no state dict where it should be: {error!r}") from error
    if not isinstance(state, Mapping) or not state:
        raise damaged(path, f"it holds a {type(state).__name__}, no state dict")
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise damaged(path, "it holds more than tensors by name")
    if sum(value.numel() * value.element_size() for value in state.values()) > SHARED * len(content):
        raise damaged(path, "its tensors are larger than the file")
    return dict(state)


def is_safetensors(content: bytes) -> bool:
    """By how the format begins: the length of its header, then that, in braces."""
    return content[8:9] == b"{" and int.from_bytes(content[:8], "little") <= len(content) - 8


def itself(found: Any) -> Any:
    return found


class StateDecoder:
    """Turns the files of one architecture into vectors."""

    def __init__(self, architecture: Architecture, unwrap: Unwrap = itself):
        self.architecture, self.unwrap = architecture, unwrap
        self.layouts: list[Layout] = []
        self.tries = LAYOUTS

    def vector(self, named: Callable[[], Path], content: bytes) -> np.ndarray:
        """float32 [length]. Raises ZooError, which names the file, if it is no state of this architecture."""
        layout = next((layout for layout in self.layouts if layout.fits(content)), None)
        try:
            if layout:
                return layout.read(content)
            state = state_in(named(), content, self.unwrap)
            variant = self.architecture.variant_of(state)
            if self.tries:
                self.learn(content, variant)
            return self.architecture.flatten(state, variant).numpy()
        except ZooError:
            raise
        except ValueError as error:
            raise ZooError(f"{named()} is no state of the others' architecture: {one_line(error)[:300]}") from error

    def learn(self, content: bytes, variant: int) -> None:
        self.tries -= 1
        if found := Layout.of(content, self.architecture, variant):
            self.layouts.insert(0, found)

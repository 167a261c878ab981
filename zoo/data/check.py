"""The values of a data config, checked before any image is read."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.data.errors import DataError

FITS = ("resize", "crop")
NAME_LENGTH = 100  # file names are made of it, of which file systems take 255 bytes


def check(data: Mapping[str, Any]) -> None:
    """Raise DataError for the first value that no images can be prepared with. `data` as for zoo.data.prepare."""
    for key, (is_right, needed) in RULES.items():
        if key not in data:
            raise DataError(f"data.{key} is missing: set it to {needed} (conf/data/shared/base.yaml has all keys)")
        if not is_right(data[key]):
            raise DataError(f"data.{key}={_shown(data[key])}: must be {needed}")
    if data["fit"] not in FITS:
        raise DataError(f"unknown data.fit={data['fit']}: choose from {', '.join(FITS)}")
    if not len(data["mean"]) == len(data["std"]) == data["channels"]:
        raise DataError(f"data.mean and data.std need {data['channels']} values each, one per channel (data.channels)")
    if data["grayscale"] and data["channels"] != 1:
        raise DataError(f"data.channels={data['channels']}: must be 1, as data.grayscale=true makes images of one")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2.0**127  # not NaN either


def _is_list(value: Any, least: float) -> bool:
    return isinstance(value, list | tuple) and all(_is_number(item) and item >= least for item in value)


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    def is_right(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return is_right, f"a whole number, {least} or more"


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= NAME_LENGTH and bool(re.fullmatch(r"[\w.+-]*\w[\w.+-]*", value))


def _is_function_name(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value))


def _is_folder(value: Any) -> bool:
    try:
        return isinstance(value, str) and value != "" and "\0" not in value and bool(Path(value).expanduser())
    except RuntimeError:  # ~ of a user that there is not
        return False


def _is_size(value: Any) -> bool:
    return value is None or _whole(1)[0](value)


def _is_seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64  # what PyTorch takes


def _shown(value: Any) -> str:
    """As one types it: null, true, and text that is no number in quotes."""
    return json.dumps(value, default=str)


_NUMBERS = "a list of finite numbers, one per channel"
_SWITCH = (lambda value: isinstance(value, bool)), "true or false"
_FOLDER = _is_folder, "a folder's path"

# What each key must be, and that in words.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_name, f"a name of letters, digits and _.+-, at most {NAME_LENGTH}"),
    "source": (_is_function_name, "the name of a function with its module, such as zoo.data.sources.mnist"),
    "channels": _whole(1),
    "classes": _whole(1),
    "mean": ((lambda value: _is_list(value, -math.inf)), _NUMBERS),
    # the least of normal float32 numbers: what is smaller makes infinite pixels
    "std": ((lambda value: _is_list(value, 2.0**-126)), f"{_NUMBERS}, above 0"),
    "train": _whole(1),
    "val": _whole(0),
    "test": _whole(0),
    "split_seed": (_is_seed, "a whole number below 2**64"),
    "grayscale": _SWITCH,
    "size": (_is_size, "a whole number of pixels, 1 or more, or null"),
    "fit": ((lambda value: isinstance(value, str)), " or ".join(FITS)),
    "root": _FOLDER,
    "download": _SWITCH,
    "cache": _FOLDER,
}

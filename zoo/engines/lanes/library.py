"""Finds and loads the kernels: the variant for this processor's instruction set, or the one named in ZOO_LANES."""

import ctypes
import json
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_uint64, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zoo.engines.lanes import sources

VARIANTS = ("portable", "avx2", "avx512")
"""Each needs a processor that can run those before it, too."""

PACKAGE = Path(__file__).parent

FLOATS, DOUBLES, INTEGERS, KEYS = POINTER(c_float), POINTER(c_double), POINTER(c_int64), POINTER(c_uint64)
STRUCTURE = c_void_p  # the address of one of the library's structures
ENGINE = c_void_p

# What the library's functions return and take: the declarations are in src/api.cpp.
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "lanes_best_variant": (c_char_p, []),
    "lanes_error": (c_char_p, []),
    "lanes_create": (ENGINE, [STRUCTURE, STRUCTURE, c_int]),
    "lanes_destroy": (None, [ENGINE]),
    "lanes_parameters": (c_int, [ENGINE]),
    "lanes_set_hyperparameters": (None, [ENGINE, STRUCTURE]),
    "lanes_steps": (c_uint64, [ENGINE]),
    "lanes_set_steps": (None, [ENGINE, c_uint64]),
    "lanes_get": (None, [ENGINE, c_int, FLOATS]),
    "lanes_set": (None, [ENGINE, c_int, FLOATS]),
    "lanes_train": (None, [ENGINE, STRUCTURE, STRUCTURE, DOUBLES, INTEGERS]),
    "lanes_gradients": (None, [ENGINE, STRUCTURE, STRUCTURE, FLOATS, DOUBLES]),
    "lanes_evaluate": (None, [ENGINE, STRUCTURE, STRUCTURE]),
    "lanes_outputs": (None, [ENGINE, STRUCTURE, FLOATS]),
    "lanes_function": (None, [c_int, FLOATS, FLOATS, c_int64]),
    "lanes_dropout_factors": (None, [KEYS, FLOATS, c_uint64, c_int, c_int, c_int, FLOATS]),
    "lanes_peak": (c_double, [c_double]),
}

TYPES: dict[str, Any] = {"int32": c_int32, "float": c_float, "double": c_double, "pointer": c_void_p}
"""The members' types, under the names that src/description.h gives them."""


class Stale(RuntimeError):
    """The kernels were built from other sources than those that are here."""


@dataclass(frozen=True)
class Kernels:
    """A loaded variant, and what it says of itself: the numbers and structures of src/numbers.h.

    `numbers` are by enum and name (`numbers["Optimizer"]["adam"]`), `lanes` is how many models it trains at once.
    """

    library: ctypes.CDLL
    lanes: int
    numbers: dict[str, dict[str, int]]
    structures: dict[str, type[ctypes.Structure]]


def path(variant: str) -> Path:
    return PACKAGE / f"_lanes_{variant}.so"


@cache
def load(variant: str) -> Kernels:
    """The variant's kernels. Raises RuntimeError if they were not built, are stale or cannot run on this processor."""
    if variant not in VARIANTS:
        raise RuntimeError(f"unknown engine variant {variant!r}: choose from {VARIANTS}")
    if not path(variant).exists():
        raise RuntimeError(f"the {variant} engine was not built: reinstall the package where there is a C++ compiler")
    # The portable library asks the processor, so that no code is loaded which it might not run.
    if variant != "portable":
        best = load("portable").library.lanes_best_variant().decode()
        if VARIANTS.index(variant) > VARIANTS.index(best):
            raise RuntimeError(f"this processor cannot run the {variant} engine")
    try:
        library = ctypes.CDLL(str(path(variant)))
    except OSError as error:
        raise RuntimeError(f"cannot load {path(variant).name}: {error}") from error
    description = describe(library, variant)
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    structures = {name: structure(name, **layout) for name, layout in description["structures"].items()}
    return Kernels(library, description["lanes"], description["numbers"], structures)


def describe(library: ctypes.CDLL, variant: str) -> dict[str, Any]:
    """What the library says of itself (src/description.h). Raises Stale before anything else in it is used."""
    expected = sources.expected(PACKAGE)
    try:
        function = library.lanes_description
    except AttributeError:  # version 0.1.0 described nothing
        raise stale(variant, "of version 0.1.0", expected) from None
    function.restype, function.argtypes = c_char_p, []
    description = json.loads(function())
    if description["sources"] != expected:
        raise stale(variant, f"built from sources {description['sources']}", expected)
    return description


def stale(variant: str, found: str, expected: str | None) -> Stale:
    return Stale(
        f"the engine's kernels ({path(variant).name}) are {found}, and the sources here are {expected or 'unknown'}:"
        " reinstall the package (in a checkout: pip install --editable .)"
    )


def structure(name: str, size: int, fields: list[tuple[str, str]]) -> type[ctypes.Structure]:
    """The ctypes class of a structure of the library. Raises RuntimeError if it would lie otherwise in memory."""
    members = [(field, TYPES[kind]) for field, kind in fields]
    made = type(name, (ctypes.Structure,), {"_fields_": members})
    if ctypes.sizeof(made) != size:
        raise RuntimeError(f"the engine's {name} has {size} bytes, and Python's {ctypes.sizeof(made)}: reinstall it")
    return made


def variants() -> list[str]:
    """The variants that were built and that this processor can run, the fastest first."""
    usable = []
    for variant in reversed(VARIANTS):
        try:
            load(variant)
        except RuntimeError:
            continue
        usable.append(variant)
    return usable


def choose() -> str:
    """The variant to use. Raises RuntimeError with the reason if there is none."""
    wanted = os.environ.get("ZOO_LANES", "")
    if wanted == "off":
        raise RuntimeError("the CPU engine is switched off (ZOO_LANES=off)")
    if wanted:
        load(wanted)
        return wanted
    for variant in reversed(VARIANTS):
        try:
            load(variant)
        except Stale:  # a slower variant would do, but nobody would know why it is slow
            raise
        except RuntimeError:
            continue
        return variant
    load("portable")  # says why
    raise RuntimeError("no variant of the CPU engine can be used on this machine")


def width() -> int:
    """How many models this processor trains at once."""
    return load(choose()).lanes


def reason() -> str | None:
    """Why the engine cannot be used on this machine; None if it can."""
    try:
        choose()
    except RuntimeError as error:
        return str(error)
    return None


def available() -> bool:
    return reason() is None


def peak(seconds: float = 0.5) -> float:
    """This core's measured peak of fp32 multiply-adds, in floating-point operations per second."""
    return load(choose()).library.lanes_peak(seconds)

"""Finds and loads the kernels: the variant for this processor's instruction set, or the one named in ZOO_LANES."""

import ctypes
import os
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_int32, c_int64, c_uint64, c_void_p
from functools import cache
from pathlib import Path

VARIANTS = ("portable", "avx2", "avx512")
"""In the order of what a processor must have; the kernels' `lanes_cpu_level` is an index into this."""


class LayerSpec(ctypes.Structure):
    """`LayerSpec` of api.cpp."""

    _fields_ = [
        ("kind", c_int32),
        ("outputs", c_int32),
        ("height", c_int32),
        ("width", c_int32),
        ("bias", c_int32),
        ("activation", c_int32),
        ("slope", c_float),
    ]


class OptimizerScalars(ctypes.Structure):
    """`OptimizerScalars` of optimizer.h."""

    _fields_ = [
        ("beta1", c_double),
        ("beta2", c_double),
        ("eps", c_double),
        ("alpha", c_double),
        ("nesterov", c_int32),
    ]


FLOATS, DOUBLES, INTS = POINTER(c_float), POINTER(c_double), POINTER(c_int32)
LONGS, KEYS = POINTER(c_int64), POINTER(c_uint64)

SIGNATURES = {
    "lanes_cpu_level": (c_int, []),
    "lanes_width": (c_int, []),
    "lanes_error": (c_char_p, []),
    "lanes_create": (c_void_p, [POINTER(LayerSpec), c_int, INTS, c_int, c_int, POINTER(OptimizerScalars)]),
    "lanes_destroy": (None, [c_void_p]),
    "lanes_parameters": (c_int, [c_void_p]),
    "lanes_set_hyperparameters": (None, [c_void_p, DOUBLES, DOUBLES, DOUBLES, DOUBLES]),
    "lanes_steps": (c_uint64, [c_void_p]),
    "lanes_set_steps": (None, [c_void_p, c_uint64]),
    "lanes_get": (None, [c_void_p, c_int, FLOATS]),
    "lanes_set": (None, [c_void_p, c_int, FLOATS]),
    "lanes_train": (None, [c_void_p, FLOATS, LONGS, c_int, INTS, c_int, KEYS, DOUBLES]),
    "lanes_gradients": (None, [c_void_p, FLOATS, LONGS, c_int, INTS, KEYS, FLOATS, DOUBLES]),
    "lanes_evaluate": (None, [c_void_p, FLOATS, LONGS, c_int, c_float, c_int, DOUBLES, LONGS, LONGS, INTS]),
    "lanes_function": (c_int, [c_int, FLOATS, FLOATS, c_int64]),
    "lanes_dropout_factors": (None, [KEYS, FLOATS, c_uint64, c_int, c_int, c_int, FLOATS]),
    "lanes_peak": (c_double, [c_double]),
}


def path(variant: str) -> Path:
    return Path(__file__).parent / f"_lanes_{variant}.so"


@cache
def load(variant: str) -> ctypes.CDLL:
    """The variant's library. Raises RuntimeError if it was not built or this processor cannot run it."""
    if variant not in VARIANTS:
        raise RuntimeError(f"unknown engine variant {variant!r}: choose from {VARIANTS}")
    if not path(variant).exists():
        raise RuntimeError(f"the {variant} engine was not built: reinstall the package where there is a C++ compiler")
    # The portable library asks the processor, so that no code is loaded which it might not run.
    if variant != "portable" and VARIANTS.index(variant) > load("portable").lanes_cpu_level():
        raise RuntimeError(f"this processor cannot run the {variant} engine")
    try:
        library = ctypes.CDLL(str(path(variant)))
    except OSError as error:
        raise RuntimeError(f"cannot load {path(variant).name}: {error}") from error
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


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
    usable = variants()
    if not usable:
        load("portable")  # says why
        raise RuntimeError("no variant of the CPU engine can be used on this machine")
    return usable[0]


def width() -> int:
    """How many models this processor trains at once."""
    return load(choose()).lanes_width()


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
    """This core's measured fp32 multiply-add peak, floating-point operations per second."""
    return load(choose()).lanes_peak(seconds)

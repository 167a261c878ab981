"""What the kernels say of the processor, against what Linux says of it, and how they set it."""

import ctypes
import platform
from pathlib import Path

import numpy as np
import pytest

from zoo.engines import lanes
from zoo.engines.lanes import library

pytestmark = pytest.mark.skipif(not lanes.variants(), reason="the CPU engine was not built")

CPUINFO = Path("/proc/cpuinfo")
LISTS_FLAGS = CPUINFO.exists() and platform.machine() == "x86_64"
NEEDS = {"avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}, "portable": set()}


def best_of_linux() -> str:
    """The best variant by the flags that Linux lists: of what it doesn't save, it lists none."""
    flags = next((line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")), "").split()
    return next(variant for variant, needed in NEEDS.items() if needed <= set(flags))


def best_of_kernels(portable: Path) -> str:
    function = ctypes.CDLL(str(portable)).lanes_best_variant
    function.restype = ctypes.c_char_p
    return function().decode()


@pytest.mark.skipif(not LISTS_FLAGS, reason="this is no Linux on x86-64")
def test_the_best_variant_is_what_linux_says() -> None:
    assert best_of_kernels(library.path("portable")) == best_of_linux()
    assert lanes.variants()[0] == best_of_linux()


@pytest.mark.parametrize("variant", lanes.variants())
def test_denormal_numbers_are_zero_during_a_call_and_only_then(variant: str) -> None:
    kernels = library.load(variant)
    numbers = np.array([1e-40, -1e-40, 1e-20], np.float32)
    found = np.empty_like(numbers)
    addresses = [array.ctypes.data_as(library.FLOATS) for array in (numbers, found)]
    kernels.library.lanes_function(kernels.numbers["Function"]["tanh"], *addresses, numbers.size)
    assert found.tolist() == pytest.approx([0, 0, 1e-20], rel=1e-6, abs=0)
    assert (numbers * np.float32(1))[0] == numbers[0] > 0

"""What the kernels say of the processor, against what Linux says of it."""

import ctypes
from pathlib import Path

import pytest

from zoo.engines import lanes
from zoo.engines.lanes import library

CPUINFO = Path("/proc/cpuinfo")
NEEDS = {"avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}, "avx2": {"avx2", "fma"}, "portable": set()}


def best_of_linux() -> str:
    """The best variant by the flags that Linux lists: of what it doesn't save, it lists none."""
    flags = next((line for line in CPUINFO.read_text().splitlines() if line.startswith("flags")), "").split()
    return next(variant for variant, needed in NEEDS.items() if needed <= set(flags))


def best_of_kernels(portable: Path) -> str:
    function = ctypes.CDLL(str(portable)).lanes_best_variant
    function.restype = ctypes.c_char_p
    return function().decode()


@pytest.mark.skipif(not lanes.variants(), reason="the CPU engine was not built")
@pytest.mark.skipif(not CPUINFO.exists(), reason="this is no Linux")
def test_the_best_variant_is_what_linux_says() -> None:
    assert best_of_kernels(library.path("portable")) == best_of_linux()
    assert lanes.variants()[0] == best_of_linux()

"""The CPU engine: populations of small networks trained in SIMD lanes, by C++ kernels.

`available()` and `reason()` tell whether it can be used on this machine, `supported()` whether for a given stack of
layers; where not, train with PyTorch. The environment variable ZOO_LANES forces a variant (avx512, avx2, portable) or
switches the engine off (off).
"""

from zoo.lanes.dropout import CountedDropout, dropout_mask
from zoo.lanes.engine import Engine, Evaluation
from zoo.lanes.layers import Unsupported, supported
from zoo.lanes.library import available, peak, reason, variants, width

__all__ = [
    "CountedDropout",
    "Engine",
    "Evaluation",
    "Unsupported",
    "available",
    "dropout_mask",
    "peak",
    "reason",
    "supported",
    "variants",
    "width",
]

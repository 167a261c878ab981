"""The CPU engine: populations of small networks trained in SIMD lanes, by C++ kernels.

`available()` and `reason()` tell whether it can be used on this machine, `chain()` which layers a model applies one
after the other, `supported()` whether there are kernels for them, and `classes()` how many outputs they give; where
there are none, train with PyTorch: `CountedDropout` then draws the engine's dropout masks. The environment variable
ZOO_LANES forces a variant (avx512, avx2, portable) or switches the engine off (off).
"""

from zoo.engines.lanes.chain import chain
from zoo.engines.lanes.dropout import CountedDropout, dropout_mask
from zoo.engines.lanes.engine import Engine, Evaluation
from zoo.engines.lanes.layers import Unsupported, classes, supported
from zoo.engines.lanes.library import available, peak, reason, variants, width

__all__ = [
    "CountedDropout",
    "Engine",
    "Evaluation",
    "Unsupported",
    "available",
    "chain",
    "classes",
    "dropout_mask",
    "peak",
    "reason",
    "supported",
    "variants",
    "width",
]

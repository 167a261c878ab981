"""A small model that fails in training, in the way that it is told to for its seed."""

import ctypes
import os
import signal
import sys

from torch import Tensor, nn


class Fragile(nn.Sequential):
    def __init__(self, seed: int, faults: dict[int, str] | None):
        super().__init__(nn.Flatten(), nn.Linear(784, 10))
        self.fault = {str(key): fault for key, fault in (faults or {}).items()}.get(str(seed))

    def forward(self, images: Tensor) -> Tensor:
        # the look at the images keeps the CPU engine, which does not call this, from training it
        if self.training and bool(images.isfinite().all()) and self.fault:
            FAULTS[self.fault]()
        return super().forward(images)


def fail() -> None:
    print("about to fail")
    raise ArithmeticError("no such luck")


FAULTS = {
    "raise": fail,
    "exit": lambda: sys.exit("giving up"),
    "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segfault": lambda: ctypes.string_at(0),
}

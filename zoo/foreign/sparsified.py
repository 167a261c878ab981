"""The sparsified twins of the 2022 zoos: networks of variational dropout, and the sparse networks that they are.

Beside each weight and bias, their states have the logarithm of its variance, `log_sigma2` and `log_sigma2_bias`. In
evaluation, a number is 0 where log alpha = log sigma^2 - 2 log |number| is 3 or more: every weight, and the biases of
convolutions. What is left is a state of the dense network, in the same places; it is that which is read here.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

SIGMA, SIGMA_BIAS = "log_sigma2", "log_sigma2_bias"
THRESHOLD = 3.0  # of log alpha
EPSILON = 1e-15
CONVOLUTION = 4  # dimensions of its weight


def is_sparsified(state: Mapping[str, Tensor]) -> bool:
    return any(key.endswith(f".{SIGMA}") for key in state)


def sparse(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the network that is evaluated, without the variances; any other state as it is."""
    if not is_sparsified(state):
        return dict(state)
    return {key: clipped(state, key) for key in state if not key.endswith((f".{SIGMA}", f".{SIGMA_BIAS}"))}


def clipped(state: Mapping[str, Tensor], key: str) -> Tensor:
    """A tensor of the state with what is dropped set to 0."""
    layer, _, name = key.rpartition(".")
    value, weight = state[key], state.get(f"{layer}.weight")
    sigma = state.get(f"{layer}.{SIGMA if name == 'weight' else SIGMA_BIAS}")
    if sigma is None or sigma.shape != value.shape:
        return value
    if name == "bias" and (weight is None or weight.dim() != CONVOLUTION):
        return value
    log_alpha = sigma - 2 * torch.log(value.abs() + EPSILON)
    return torch.where(log_alpha >= THRESHOLD, torch.zeros_like(value), value)

"""Splits of a population: by model, each with all its epochs."""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from zoo.errors import ZooError

SPLITS = ("train", "val", "test")
SHARES = (70, 85)  # the percentiles that part them


def split_models(nodes: Sequence[str]) -> np.ndarray:
    """The split [models] of each model: by the name of its node alone, whatever else is in the zoo.

    The first 8 bytes of the name's SHA-256 (UTF-8), read as a big-endian number below 2**64, lie somewhere on a scale
    of 100: below 70 is train, below 85 val, the rest test.
    """
    places = [int.from_bytes(hashlib.sha256(node.encode()).digest()[:8], "big") * 100 >> 64 for node in nodes]
    return np.array(SPLITS, dtype=object)[np.searchsorted(SHARES, places, side="right")]


def seeded_splits(
    nodes: Sequence[str], fractions: Mapping[str, float], seed: int, strata: Sequence[object] | None = None
) -> np.ndarray:
    """The split [models] of each model: of the `fractions`' names, in shares that are exact but for rounding.

    It follows from `seed` and from which nodes there are, but not from their order. Models of the same node, in several
    zoos, are in the same split. `strata`: a value per model; each value's models are split in the same shares.

    Raises ZooError unless fractions are above 0 and their sum is 1.
    """
    require_fractions(fractions)
    first = pd.DataFrame({"node": nodes, "stratum": "" if strata is None else [str(value) for value in strata]})
    first = first.drop_duplicates("node")
    first["place"] = [hashlib.sha256(f"{seed} {node}".encode()).hexdigest() for node in first["node"]]
    first = first.sort_values(["stratum", "place"])
    first["split"] = dealt(len(first), fractions)
    return pd.Series(list(nodes), dtype=object).map(first.set_index("node")["split"]).to_numpy(dtype=object)


def require_fractions(fractions: Mapping[str, float]) -> None:
    if not isinstance(fractions, Mapping):
        raise ZooError(f"splits={fractions!r}: give each a name and a fraction, such as {{'train': .7, 'test': .3}}")
    if not fractions or not all(isinstance(value, int | float) and value > 0 for value in fractions.values()):
        raise ZooError(f"splits={dict(fractions)}: give each a fraction above 0, such as .7")
    if not math.isclose(total := sum(fractions.values()), 1, abs_tol=1e-9):
        raise ZooError(f"splits={dict(fractions)}: the fractions add up to {total:.6g}, not to 1")


def dealt(count: int, fractions: Mapping[str, float]) -> list[str]:
    """A split for each of so many, one after another: always the one that lags most behind its share.

    So any run of them, such as a stratum, has the shares as nearly as whole numbers can.
    """
    names, shares = list(fractions), list(fractions.values())
    lag, found = [0.0] * len(names), []
    for _ in range(count):
        lag = [behind + share for behind, share in zip(lag, shares, strict=True)]
        chosen = max(range(len(names)), key=lag.__getitem__)
        lag[chosen] -= 1
        found.append(names[chosen])
    return found

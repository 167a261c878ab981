"""Which nodes are trained together."""

import heapq
import json
from collections import Counter
from collections.abc import Iterable, Sequence

from zoo.engines import lanes
from zoo.node.from_zoo import steps_before
from zoo.node.node import Node, canonical
from zoo.run.engine import PER_MODEL, unsupported

PACK_SIZE = 16  # models: the widest registers' lanes; more would not be faster


def pack_key(node: Node) -> str:
    """Nodes with the same key can share a pack: all but seed, init and what the engine takes per model is the same.

    Optimizers that go on from a zoo's must have made as many steps.
    """
    shared = {key: value for key, value in node.values.items() if key not in ("seed", "init")}
    shared["optim"] = {key: value for key, value in shared["optim"].items() if key not in PER_MODEL}
    shared["model"] = shared["model"] | {"dropout": shared["model"].get("dropout", 0) > 0}
    places = [node.config[key] for key in ("sweeps", "zoo", "trainer", "engine", "stop_diverged")]
    return json.dumps([canonical(shared), steps_before(node.config), places])


def pack(nodes: Sequence[Node], workers: int, pack_size: int | None = None) -> list[list[Node]]:
    """The nodes in packs that keep `workers` processes busy to the end; one by one what the engine can't train.

    `pack_size`: models in a pack; by default up to PACK_SIZE, and less where workers would have nothing to do.
    """
    packs: list[list[Node]] = []
    singles: list[list[Node]] = []
    for group in groups(nodes):
        if unsupported(group[0]) is None:
            packs += chunks(group, pack_size or PACK_SIZE)
        else:
            singles += chunks(group, 1)
    if pack_size is None:
        packs = balanced(packs, workers)
    return packs + singles


def groups(nodes: Sequence[Node]) -> Iterable[list[Node]]:
    """The nodes by their pack keys."""
    by_key: dict[str, list[Node]] = {}
    for node in nodes:
        by_key.setdefault(pack_key(node), []).append(node)
    return by_key.values()


def notice(nodes: Sequence[Node]) -> str | None:
    """What to tell a user whose models could train much faster, and why they don't; None if nothing is to be told."""
    if not lanes.available():
        if all(node.config["engine"] == "torch" for node in nodes):
            return None
        return f"Without the CPU engine ({lanes.reason()}) models are trained one by one through PyTorch, far slower."
    reasons: Counter[str] = Counter()
    for group in groups(nodes):
        reason = unsupported(group[0])
        if reason and group[0].config["engine"] != "torch":
            reasons[reason] += len(group)
    lines = [f"{count} of {len(nodes)} models through PyTorch, far slower: {why}" for why, count in reasons.items()]
    if len(lines) > 1:
        lines.append(f"{reasons.total()} of {len(nodes)} in all")
    return "\n".join(lines) or None


def chunks(nodes: Sequence[Node], size: int) -> list[list[Node]]:
    return [list(nodes[start : start + size]) for start in range(0, len(nodes), size)]


def balanced(packs: Sequence[list[Node]], workers: int) -> list[list[Node]]:
    """The packs, the largest first, some of them cut so that all workers have as many models, give or take one.

    Half a pack takes about half the time: the engine gives free lanes to samples.
    """
    dealt = deal(packs, workers)
    while True:
        dealt.sort(key=models_in)
        fewest, most = dealt[0], dealt[-1]
        excess = (models_in(most) - models_in(fewest)) // 2
        if not excess:
            return sorted((pack for share in dealt for pack in share), key=len, reverse=True)
        smallest = min(most, key=len)
        most.remove(smallest)
        fewest.append(smallest[:excess])
        if rest := smallest[excess:]:
            most.append(rest)


def deal(packs: Sequence[list[Node]], workers: int) -> list[list[list[Node]]]:
    """Each worker's share of the packs: the largest are dealt first, always to the one that has the fewest models."""
    shares = [(0, number) for number in range(workers)]
    dealt: list[list[list[Node]]] = [[] for _ in shares]
    for pack in sorted(packs, key=len, reverse=True):
        models, number = heapq.heappop(shares)
        dealt[number].append(pack)
        heapq.heappush(shares, (models + len(pack), number))
    return dealt


def models_in(packs: Sequence[list[Node]]) -> int:
    return sum(map(len, packs))

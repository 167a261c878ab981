"""What a command would do: how many models, how long, how large. Says so without training."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import torch

from zoo.data.images import Images, Split
from zoo.disk import paths
from zoo.format.record import read_whole_records
from zoo.launch.packing import pack
from zoo.node.build import build_model
from zoo.node.node import Node
from zoo.node.steps import batches_per_epoch
from zoo.run.engine import PER_MODEL, unsupported
from zoo.run.record import is_complete
from zoo.sweep.check import check
from zoo.sweep.manifest import Manifest

MEASURED = 4  # packs that are timed, of those that differ in what is trained
STEPS = 20  # optimizer steps that each is timed over
SIZE = 32  # pixels of images that keep their own size, which is not known before they are read
RECORD = 900  # bytes of a line of result.json, about


@dataclass(frozen=True)
class Plan:
    """`seconds`: until all is trained. `size`: bytes that the sweep will have, without its images."""

    finished: int
    begun: int
    new: int
    epochs: int  # left to train
    through_torch: int  # models that the CPU engine can't train
    seconds: float
    size: int

    def __str__(self) -> str:
        total = self.finished + self.begun + self.new
        lines = [
            f"{total:,} models: {self.finished:,} finished, {self.begun:,} to go on, {self.new:,} new",
            f"{self.epochs:,} epochs to train, about {duration(self.seconds)}",
            f"{megabytes(self.size)} on disk when done",
        ]
        if self.through_torch:
            lines.append(f"{self.through_torch:,} of them through PyTorch")
        return "\n".join(lines)


def dry_run(nodes: Sequence[Node], command: Sequence[str], workers: int, pack_size: int | None = None) -> str:
    """What the command would do, in words. Raises ZooError as the command itself would before it trains."""
    for folder, named in check(nodes).items():
        Manifest.read(folder).including(named, command)
    return f"{plan(nodes, workers, pack_size)}\nNothing was written: leave out dry_run to train."


def plan(nodes: Sequence[Node], workers: int, pack_size: int | None = None) -> Plan:
    """Look at the nodes' runs, and time some steps of their packs on random images, on this machine.

    `workers`: processes that will train.
    """
    left = {node: epochs_left(node) for node in nodes}
    begun = {node for node in nodes if paths.result(node.run).exists()}
    packs = [Members(members) for members in pack([node for node in nodes if left[node]], workers, pack_size)]
    kinds: dict[Any, Members] = {}
    for members in packs:
        kinds.setdefault(members.kind, members)
    speeds = {kind: seconds_per_epoch(members.nodes) for kind, members in itertools.islice(kinds.items(), MEASURED)}
    mean = sum(speeds.values()) / max(len(speeds), 1)
    through_torch = {kind for kind, members in kinds.items() if unsupported(members.nodes[0])}
    seconds = [max(left[node] for node in members.nodes) * speeds.get(members.kind, mean) for members in packs]
    return Plan(
        finished=sum(not epochs for epochs in left.values()),
        begun=sum(bool(left[node]) for node in begun),
        new=sum(bool(left[node]) for node in nodes if node not in begun),
        epochs=sum(left.values()),
        through_torch=sum(len(members.nodes) for members in packs if members.kind in through_torch),
        seconds=max(sum(seconds) / workers, max(seconds, default=0.0)),
        size=sum((node.max_epochs + 1) * size for node, size in zip(nodes, state_sizes(nodes), strict=True)),
    )


def epochs_left(node: Node) -> int:
    records, _ = read_whole_records(node.run)
    if is_complete(records, node.max_epochs, node.config["stop_diverged"]):
        return 0
    return node.max_epochs - max(len(records) - 1, 0)


@dataclass(frozen=True)
class Members:
    """The nodes of a pack."""

    nodes: Sequence[Node]

    @cached_property
    def kind(self) -> tuple[Any, ...]:
        """Packs of one kind take as long, and are trained by the same engine."""
        config = self.nodes[0].config
        groups = ("data", "model", "optim", "schedule", "augmentation", "trainer", "batch_size", "engine")
        optim = {key: value for key, value in config["optim"].items() if key not in PER_MODEL}
        return (len(self.nodes), str([config[group] if group != "optim" else optim for group in groups]))


def seconds_per_epoch(members: Sequence[Node]) -> float:
    """Of training and evaluating a pack, from a few steps on random images."""
    from zoo.run.pack import SPLITS
    from zoo.run.run import make_pack  # PyTorch Lightning takes seconds to import

    data, batch = members[0].config["data"], members[0].config["batch_size"]
    few = random_images(members[0], STEPS * batch)
    made = make_pack(members, [build_model(node.config) for node in members], few, epoch=0)
    [orders] = made.train_dataloader()
    made.train_epoch(orders)  # the first time costs more
    limit = members[0].config["trainer"].get("limit_train_batches")
    training = timed(lambda: made.train_epoch(orders)) / made.batches * batches_per_epoch(data["train"], batch, limit)
    evaluated = data["val"] + data["test"] + (0 if made.is_running else data["train"])
    evaluation = timed(lambda: made.evaluate(SPLITS)) / (len(SPLITS) * len(few.trainset)) * evaluated
    return training + evaluation


def random_images(node: Node, count: int) -> Images:
    data = node.config["data"]
    size = data["size"] or SIZE
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, data["channels"], size, size, generator=generator)
    split = Split(images, torch.randint(data["classes"], (count,), generator=generator))
    return Images(data["name"], split, split, split, 0, [], list(data["mean"]), list(data["std"]))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def state_sizes(nodes: Sequence[Node]) -> list[int]:
    """Bytes that each node's run gets per epoch."""
    sizes: dict[str, int] = {}
    for key, group in itertools.groupby(nodes, key=lambda node: str(node.config["model"])):
        if key not in sizes:
            file = BytesIO()
            torch.save(build_model(next(iter(group)).config).state_dict(), file)
            sizes[key] = file.tell() + RECORD
    return [sizes[str(node.config["model"])] for node in nodes]


def duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def megabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"

"""What a command would do: how many models, how long, how large. Says so without training."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import torch

from zoo.data.images import Images, Split
from zoo.launch.packing import pack
from zoo.node.build import build_model
from zoo.node.node import Node
from zoo.node.steps import batches_per_epoch
from zoo.run.engine import unsupported
from zoo.run.record import read_whole_records

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


def plan(nodes: Sequence[Node], workers: int, pack_size: int | None = None) -> Plan:
    """Look at the nodes' runs, and time some steps of their packs on random images, on this machine.

    `workers`: processes that will train.
    """
    trained = {node: len(read_whole_records(node.run)[0]) - 1 for node in nodes}
    left = {node: max(node.max_epochs - max(epoch, 0), 0) for node, epoch in trained.items()}
    packs = pack([node for node in nodes if left[node]], workers, pack_size)
    speeds: dict[Any, float] = {}
    for members in packs:
        if kind(members) not in speeds and len(speeds) < MEASURED:
            speeds[kind(members)] = seconds_per_epoch(members)
    mean = sum(speeds.values()) / len(speeds) if speeds else 0.0
    epochs = [(max(left[node] for node in members), speeds.get(kind(members), mean)) for members in packs]
    return Plan(
        finished=sum(not epochs for epochs in left.values()),
        begun=sum(bool(left[node]) and epoch >= 0 for node, epoch in trained.items()),
        new=sum(bool(left[node]) and epoch < 0 for node, epoch in trained.items()),
        epochs=sum(left.values()),
        through_torch=sum(len(members) for members in packs if unsupported(members[0])),
        seconds=sum(number * speed for number, speed in epochs) / min(workers, max(len(packs), 1)),
        size=sum((node.max_epochs + 1) * size for node, size in zip(nodes, state_sizes(nodes), strict=True)),
    )


def kind(members: Sequence[Node]) -> tuple[Any, ...]:
    """Packs of one kind take as long."""
    config = members[0].config
    return (len(members), str(config["model"]), config["optim"]["name"], config["batch_size"], unsupported(members[0]))


def seconds_per_epoch(members: Sequence[Node]) -> float:
    """Of training and evaluating a pack, from a few steps on random images."""
    from zoo.run.run import make_pack  # PyTorch Lightning takes seconds to import

    data, batch = members[0].config["data"], members[0].config["batch_size"]
    few = random_images(members[0], STEPS * batch)
    made = make_pack(members, [build_model(node.config) for node in members], few, epoch=0)
    [orders] = made.train_dataloader()
    made.train_epoch(orders)  # the first time costs more
    limit = members[0].config["trainer"].get("limit_train_batches")
    training = timed(lambda: made.train_epoch(orders)) / made.batches * batches_per_epoch(data["train"], batch, limit)
    evaluation = timed(made.evaluate) / (3 * len(few.trainset)) * (data["train"] + data["val"] + data["test"])
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

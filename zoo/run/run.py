"""Train nodes into their run directories, or go on where they stopped."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from zoo.data.images import Images
from zoo.errors import ZooError
from zoo.format.record import read_records, read_state, read_training_state
from zoo.node.build import build, build_model
from zoo.node.from_zoo import parent_optimizer
from zoo.node.node import Node
from zoo.run.engine import unsupported
from zoo.run.lanes_pack import LanesPack
from zoo.run.pack import Pack
from zoo.run.record import claim
from zoo.run.recorder import Recorder
from zoo.run.resumption import Tell, finish, from_common_epochs, tell
from zoo.run.torch_pack import TorchPack
from zoo.run.trainer import make_trainer
from zoo.run.trainer_options import EPOCHS
from zoo.run.writer import Writer

LARGE = 100_000  # parameters from which a model is trained faster by several threads


def train(nodes: Sequence[Node], images: Path, tell: Tell = tell, threads: int = 1) -> None:
    """Train the nodes (of one pack_key) in their run directories on the images in file `images`.

    `threads`: for a large model through PyTorch, where nothing else is trained beside it.

    Finished runs are left as they are; interrupted and damaged ones go on from a whole epoch, to the same states as if
    they had never stopped: `tell` is given what was damaged. Raises ZooError, before anything is trained, if a run
    directory holds another config.
    """
    quiet()
    for node in nodes:
        claim(node)
    unfinished = [node for node in nodes if not finish(node, tell)]
    prepared = Images.load(images)
    for epoch, members in from_common_epochs(unfinished, tell):
        packs = [members] if unsupported(members[0]) is None else [[node] for node in members]
        for together in packs:
            torch.set_num_threads(threads_of(together[0], threads))
            models = [model_at(node, epoch) for node in together]
            fit(make_pack(together, models, prepared, epoch), together)


def threads_of(node: Node, threads: int) -> int:
    """How many threads a node is trained by: the CPU engine has one, and small models are no faster by several.

    PyTorch's sums over a batch differ in the last digits by this number: environment.json has it.
    """
    if unsupported(node) is None:
        return 1
    with torch.device("meta"):
        model = build(node.config["model"])
    return threads if sum(parameter.numel() for parameter in model.parameters()) >= LARGE else 1


def model_at(node: Node, epoch: int) -> nn.Module:
    """The node's model; after epoch 0 with any weights, since those of the epoch will be loaded."""
    return build(node.config["model"]) if epoch else build_model(node.config)


def make_pack(nodes: Sequence[Node], models: Sequence[nn.Module], images: Images, epoch: int) -> Pack:
    """The nodes' models, at their initialisation, with the engine that trains them; `epoch` see `Pack`.

    Nodes that the CPU engine can't train must come one by one.
    """
    if unsupported(nodes[0]) is None:
        return LanesPack(nodes, models, images, epoch)
    [node], [model] = nodes, models
    return TorchPack(node, model, images, epoch)


def fit(pack: Pack, nodes: Sequence[Node]) -> None:
    """Train the pack, whose models are at their initialisation, from its epoch's files to the end."""
    epoch = pack.epoch
    if epoch:
        records = [(node.run, read_records(node.run)[epoch]) for node in nodes]
        states = [read_state(run, epoch, record) for run, record in records]
        pack.load_on_start(states, [read_training_state(run, epoch, record) for run, record in records])
    else:
        go_on_from_parents(pack, nodes)
    with Writer() as writer:
        recorder = Recorder(nodes, writer)
        make_trainer(nodes[0].config["trainer"], recorder, nodes[0].run, epoch).fit(pack)
    if recorder.active() and pack.epoch < nodes[0].max_epochs:
        raise ZooError(
            f"trainer.callbacks: one of them stopped the training after epoch {pack.epoch}, and {EPOCHS}. Leave it out"
        )


def go_on_from_parents(pack: Pack, nodes: Sequence[Node]) -> None:
    """Let the optimizers go on that should, from what a zoo keeps of them, with settings and schedules of their own."""
    parents = [parent_optimizer(node.config) for node in nodes]
    if all(parent is None for parent in parents):
        return
    own = pack.training_states()
    for state, parent in zip(own, parents, strict=True):
        if parent is not None:
            state["optimizer"]["state"] = parent
    pack.load_on_start(pack.states(), own)


def quiet() -> None:
    """No banners and tips for each of thousands of models."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")

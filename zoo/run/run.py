"""Train nodes into their run directories, or go on where they stopped."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from pytorch_lightning.plugins.environments import LightningEnvironment

from zoo.data.images import Images
from zoo.node.build import build, build_model
from zoo.node.node import Node
from zoo.run.engine import unsupported
from zoo.run.lanes_pack import LanesPack
from zoo.run.pack import Pack
from zoo.run.record import claim, read_records, read_state, read_training_state
from zoo.run.recorder import Recorder
from zoo.run.resumption import finish, from_common_epochs
from zoo.run.torch_pack import TorchPack


def train(nodes: Sequence[Node], images: Path) -> None:
    """Train the nodes (of one pack_key) in their run directories on the images in file `images`.

    Finished runs are left as they are; interrupted and damaged ones go on from a whole epoch, to the same states as if
    they had never stopped. Raises ZooError, before anything is trained, if a run directory holds another config.
    """
    quiet()
    torch.set_num_threads(1)
    for node in nodes:
        claim(node)
    unfinished = [node for node in nodes if not finish(node)]
    prepared = Images.load(images)
    for epoch, members in from_common_epochs(unfinished):
        models = [build_model(node.config) for node in members]
        if unsupported(members[0]) is None:
            fit(LanesPack(members, models, prepared, epoch), members)
        else:
            for node, model in zip(members, models, strict=True):
                fit(TorchPack(node, model, prepared, epoch), [node])


def fit(pack: Pack, nodes: Sequence[Node]) -> None:
    """Train the pack, whose models are at their initialisation, from its epoch's files to the end."""
    config, epoch = nodes[0].config, pack.epoch
    if epoch:
        records = [(node.run, read_records(node.run)[epoch]) for node in nodes]
        states = [read_state(run, epoch, record) for run, record in records]
        pack.load(states, [read_training_state(run, epoch, record) for run, record in records])
    left = config["trainer"]["max_epochs"] - epoch
    # in a job of a batch system, each of its processes trains models of its own: none is a rank of one training
    alone = LightningEnvironment()
    trainer = build({**config["trainer"], "max_epochs": left, "callbacks": [Recorder(nodes)], "plugins": [alone]})
    trainer.fit(pack)


def quiet() -> None:
    """No banners and tips for each of thousands of models."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")

"""Packs on the CPU engine: models trained in SIMD lanes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.data.images import Images, Split
from zoo.engines import lanes
from zoo.models.evaluate import predictions
from zoo.node.build import build
from zoo.node.node import Node
from zoo.random import derive
from zoo.run.engine import OPTIMIZERS, PER_MODEL
from zoo.run.pack import Metrics, Pack, State


class LanesPack(Pack):
    """Models in the lanes of the CPU engine."""

    def __init__(self, nodes: Sequence[Node], models: Sequence[nn.Module], images: Images, epoch: int = 0):
        """`nodes` have the same `pack_key`; `models` are at their initialisation."""
        super().__init__(nodes, images, epoch)
        # not as a submodule: Lightning need not know these, which are where states come from and go to
        self.models = tuple(models)
        self.keys = np.array([derive(seed, "dropout", 0) for seed in self.seeds], dtype=np.uint64)
        optims = [node.config["optim"] for node in nodes]
        self.groups = [
            build(optim)(model.parameters()).state_dict()["param_groups"]
            for optim, model in zip(optims, models, strict=True)
        ]
        kind, known = OPTIMIZERS[optims[0]["_target_"]]
        settings = [groups[0] for groups in self.groups]  # with PyTorch's defaults for what isn't chosen
        chosen: dict[str, Any] = {key: settings[0][key] for key in known}
        chosen |= {key: [setting[key] for setting in settings] for key in PER_MODEL if key in known}
        rates = [[layer.p for layer in model.modules() if type(layer) is nn.Dropout] for model in models]
        self.engine = lanes.Engine(
            lanes.chain(models[0]),
            images.trainset.images.shape[1:],
            len(models),
            kind,
            dropout=rates if rates[0] else None,
            **chosen,
        )
        self.engine.parameters = np.stack([flat(model.state_dict().values()) for model in models])

    def configure_optimizers(self) -> None:
        return None

    def train_epoch(self, orders: Tensor) -> list[Metrics]:
        trainset = self.images.trainset
        found = self.engine.train_epoch(trainset.images, trainset.labels, orders, self.batch_size, self.keys)
        return [
            {"train_loss": float(loss), "train_acc": int(correct) / orders.shape[1]}
            for loss, correct in zip(found.loss, found.correct, strict=True)
        ]

    def states(self) -> list[State]:
        return [unflat(row, model.state_dict()) for row, model in zip(self.engine.parameters, self.models, strict=True)]

    def training_states(self) -> list[dict[str, Any]]:
        """As PyTorch's optimizers save theirs."""
        averages = self.averages()
        step = torch.tensor(float(self.engine.optimizer_state["step"]))
        found = []
        for index, (model, groups) in enumerate(zip(self.models, self.groups, strict=True)):
            parameters = dict(model.named_parameters())
            tensors = {name: list(unflat(rows[index], parameters).values()) for name, rows in averages.items()}
            state = {
                number: {"step": step.clone(), **{name: values[number] for name, values in tensors.items()}}
                for number in range(len(parameters))
            }
            found.append({"optimizer": {"state": state, "param_groups": groups}, "schedule": None})
        return found

    def averages(self) -> dict[str, np.ndarray]:
        """What the optimizer keeps of the gradients, by PyTorch's names, each [models, parameters]."""
        return {name: rows for name, rows in self.engine.optimizer_state.items() if isinstance(rows, np.ndarray)}

    def load(self, states: Sequence[State], training_states: Sequence[Mapping[str, Any]]) -> None:
        self.engine.parameters = np.stack([flat(state.values()) for state in states])
        zeros = self.averages()
        saved = [training_state["optimizer"]["state"] for training_state in training_states]
        # PyTorch keeps no average that isn't used (momentum 0); it is zero then
        averages = {
            name: np.stack(
                [
                    flat([state[i][name] for i in sorted(state)]) if state and name in state[0] else zeros[name][index]
                    for index, state in enumerate(saved)
                ]
            )
            for name in zeros
        }
        self.engine.optimizer_state = {"step": self.steps, **averages}

    def evaluate(self, splits: Sequence[str]) -> list[Metrics]:
        for model, state in zip(self.models, self.states(), strict=True):
            model.load_state_dict(state)
        metrics: list[Metrics] = [{} for _ in self.models]
        for name in splits:
            split = getattr(self.images, f"{name}set")
            for found, (loss, accuracy) in zip(metrics, self.evaluate_on(split), strict=True):
                found |= {f"{name}_loss": loss, f"{name}_acc": accuracy}
        return metrics

    def evaluate_on(self, split: Split) -> list[tuple[float | None, float | None]]:
        """Each model's loss and accuracy. Of images whose best two logits are nearly equal, PyTorch says which is."""
        if not len(split):
            return [(None, None)] * len(self.models)
        found = self.engine.evaluate(split.images, split.labels)
        right = [
            int(correct) + right_among(model, split, ties, logits)
            for model, correct, ties, logits in zip(
                self.models, found.correct, found.near_ties, found.near_tie_logits, strict=True
            )
        ]
        return [(float(loss), count / len(split)) for loss, count in zip(found.loss, right, strict=True)]


def right_among(model: nn.Module, split: Split, ties: np.ndarray, logits: np.ndarray) -> int:
    """How many of the near ties PyTorch predicts right.

    It is asked once of images with the same logits (a number for each): where a network is saturated or dead, these
    can be all. It sees them without the others, and may round them otherwise than in a batch of all, in the last digit.
    """
    if not len(ties):
        return 0
    _, first, which = np.unique(logits, return_index=True, return_inverse=True)
    predicted = predictions(model, split.images[ties[first]])[which]
    return int((predicted == split.labels[ties]).sum())


def flat(tensors: Iterable[Tensor]) -> np.ndarray:
    """One vector [parameters] of all tensors, float32."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors]).numpy()


def unflat(vector: np.ndarray, like: Mapping[str, Tensor]) -> State:
    """The tensors that a vector was made of, shaped as those in `like`, each with memory of its own."""
    parts = torch.from_numpy(vector).split([tensor.numel() for tensor in like.values()])
    return {key: part.view(tensor.shape).clone() for (key, tensor), part in zip(like.items(), parts, strict=True)}

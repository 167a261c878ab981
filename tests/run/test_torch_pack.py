"""Training against a plain PyTorch loop."""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import prepare
from zoo.data.images import Images, Split
from zoo.disk import paths
from zoo.engines.lanes import dropout_mask
from zoo.format.record import read_records, read_state
from zoo.models.evaluate import evaluate, evaluation_batch
from zoo.node.build import build_model, build_schedule
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.random import data_order, derive
from zoo.run.pack import State
from zoo.run.run import train


@pytest.mark.parametrize(
    "overrides",
    [
        ["optim=adam", "optim.weight_decay=0.01"],
        ["optim=sgd", "optim.nesterov=true", "batch_size=7"],
        ["optim=rmsprop", "batch_size=6"],
        ["optim=rmsprop", "model.dropout=0.3", "engine=torch"],
        ["optim=adam", "model.dropout=0.5", "batch_size=7"],
        ["optim=sgd", "optim.weight_decay=0.1", "engine=torch"],
        ["optim=sgd", "schedule=one_cycle", "optim.lr=0.1"],
    ],
)
def test_same_as_a_plain_loop(grid: Callable[..., Grid], tmp_path: Path, overrides: list[str]) -> None:
    [node] = prepare(
        grid(f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", "trainer.max_epochs=2", "seed=3", *overrides), []
    )
    train([node], paths.images(node.sweep))

    config, optim = node.config, node.config["optim"]
    images = Images.load(paths.images(node.sweep)).trainset
    model = build_model(config)
    optimizer = {
        "adam": lambda p: torch.optim.Adam(p, lr=optim["lr"], weight_decay=optim["weight_decay"]),
        "sgd": lambda p: torch.optim.SGD(
            p, **{key: optim[key] for key in ("lr", "momentum", "nesterov", "weight_decay")}
        ),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=optim["lr"], momentum=0.9),
    }[optim["name"]](model.parameters())
    steps = math.ceil(len(images) / config["batch_size"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=optim["lr"], epochs=2, steps_per_epoch=steps)
    if config["schedule"]["name"] == "constant":
        for group in optimizer.param_groups:  # undo what constructing the schedule did
            group.update(lr=optim["lr"], **({"momentum": 0.9} if "momentum" in group else {"betas": (0.9, 0.999)}))
    for epoch in (1, 2):
        for batch, indices in enumerate(
            torch.from_numpy(data_order(3, epoch, len(images))).split(config["batch_size"])
        ):
            optimizer.zero_grad()
            logits = with_masks(model.module_list, images.images[indices], step=(epoch - 1) * steps + batch)
            output = F.log_softmax(logits, dim=1)
            F.nll_loss(output, images.labels[indices]).backward()
            optimizer.step()
            if config["schedule"]["name"] == "one_cycle":
                schedule.step()
        for key, value in read_state(node.run, epoch).items():
            torch.testing.assert_close(value, model.state_dict()[key], rtol=1e-4, atol=1e-6)


def with_masks(layers: Iterable[nn.Module], x: torch.Tensor, step: int) -> torch.Tensor:
    """The logits in training, with the dropout masks that both engines draw."""
    key, number = derive(3, "dropout", 0), 0
    for layer in layers:
        if isinstance(layer, nn.Dropout):
            x = x * torch.from_numpy(dropout_mask(key, step, number, len(x), tuple(x.shape[1:]), layer.p))
            number += 1
        else:
            x = layer(x)
    return x


def plain_sgd(node: Node, gradients: Callable[[nn.Module, Tensor, Tensor], None], batches: int | None = None) -> State:
    """A node's state after its last epoch, trained by a plain loop; `batches`: how many of an epoch, None for all."""
    config = node.config
    model = build_model(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["optim"]["lr"], momentum=0.9)
    schedule = build_schedule(config["schedule"], optimizer) or torch.optim.lr_scheduler.ConstantLR(optimizer, 1)
    every_epoch = config["schedule"]["name"] == "multi_step"
    images = Images.load(paths.images(node.sweep)).trainset
    for epoch in range(1, node.max_epochs + 1):
        order = torch.from_numpy(data_order(node.seed, epoch, len(images)))
        for indices in order.split(config["batch_size"])[:batches]:
            optimizer.zero_grad()
            gradients(model, images.images[indices], images.labels[indices])
            optimizer.step()
            if not every_epoch:
                schedule.step()
        if every_epoch:
            schedule.step()
    return model.state_dict()


def whole(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    F.cross_entropy(model(images), labels).backward()


def clipped_by_norm(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    whole(model, images, labels)
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)


def clipped_by_value(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    whole(model, images, labels)
    for parameter in model.parameters():
        parameter.grad.clamp_(-0.01, 0.01)


def in_bfloat16(model: nn.Module, images: Tensor, labels: Tensor) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(images), labels)
    loss.backward()


@pytest.mark.parametrize(
    ("overrides", "gradients", "batches"),
    [
        (["+trainer.gradient_clip_val=0.1"], clipped_by_norm, None),
        (["+trainer.gradient_clip_val=0.01", "+trainer.gradient_clip_algorithm=value"], clipped_by_value, None),
        (["+trainer.precision=bf16-mixed"], in_bfloat16, None),
        (["+trainer.limit_train_batches=2"], whole, 2),
        (["+trainer.limit_train_batches=0.5", "engine=torch"], whole, 2),
        (["+trainer.limit_train_batches=2", "schedule=cosine"], whole, 2),
        (["schedule=cosine", "batch_size=7"], whole, None),
        (["schedule=multi_step", "schedule.milestones=[1]"], whole, None),
    ],
)
def test_what_can_be_chosen_is_what_pytorch_does(
    grid: Callable[..., Grid], tmp_path: Path, overrides: list[str], gradients: Any, batches: int | None
) -> None:
    places = [f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", "zoo.name=tiny"]
    chosen = ["optim=sgd", "optim.lr=0.05", "trainer.max_epochs=2", "seed=3"]
    [node] = prepare(grid(*places, *chosen, *overrides))
    train([node], paths.images(node.sweep))
    expected = plain_sgd(node, gradients, batches)
    without = plain_sgd(Node(replaced(node.config, "schedule", {"name": "constant"})), whole)
    for key, value in read_state(node.run, 2).items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(value, without[key], rtol=1e-3) for key, value in expected.items())


def replaced(config: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    return {**config, key: value}


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_what_can_be_chosen_is_resumed(grid: Callable[..., Grid], tmp_path: Path, precision: str) -> None:
    chosen = ["schedule=multi_step", "schedule.milestones=[1,3]", "+trainer.gradient_clip_val=0.1"]
    chosen += [f"+trainer.precision={precision}", "+trainer.limit_train_batches=0.5", "model.dropout=0.5"]
    states = []
    for name, epochs in (("whole", [4]), ("parts", [1, 2, 4])):
        for until in epochs:
            places = [f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", f"zoo.name={name}"]
            [node] = prepare(grid(*places, *chosen, f"trainer.max_epochs={until}"))
            train([node], paths.images(node.sweep))
        states.append(read_state(node.run, 4))
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]) and value.dtype == torch.float32 and value.isfinite().all()


def test_evaluate() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(4, 3))
    split = Split(torch.randn(1203, 1, 2, 2), torch.randint(3, (1203,)))
    loss, accuracy = evaluate(model, split)
    logits = split.images.flatten(1) @ model[2].weight.T + model[2].bias
    assert loss == pytest.approx(F.cross_entropy(logits, split.labels).item(), rel=1e-6)
    assert accuracy == (logits.argmax(1) == split.labels).double().mean().item()
    assert evaluate(model, Split(torch.empty(0, 1, 2, 2), torch.empty(0, dtype=torch.int64))) == (None, None)


def test_images_are_evaluated_as_many_at_once_as_caches_hold() -> None:
    small = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 5), torch.nn.Flatten(), torch.nn.Linear(4608, 10))
    wide = torch.nn.Sequential(torch.nn.Conv2d(1, 64, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(65536, 10))
    assert evaluation_batch(small, torch.zeros(3, 1, 28, 28)) == 500
    assert evaluation_batch(wide, torch.zeros(3, 1, 32, 32)) == 40  # 64 maps of 32 x 32 float32 are 256 KiB
    assert not wide[0]._forward_hooks
    split = Split(torch.randn(130, 1, 32, 32), torch.randint(10, (130,)))
    assert evaluate(wide, split, 40) == pytest.approx(evaluate(wide, split), rel=1e-5)


def test_a_resnet_trains_with_its_schedule_and_augmentation(grid: Callable[..., Grid], tmp_path: Path) -> None:
    overrides = ["model=resnet18", "optim=sgd", "schedule=one_cycle", "augmentation=crop_flip", "batch_size=20"]
    overrides += ["data.size=12"]
    places = [f"sweeps={tmp_path}", f"data.cache={tmp_path}/cache", "trainer.max_epochs=1"]
    nodes = prepare(grid(*places, *overrides, "seed=0,1"), [])
    for node in nodes:
        train([node], paths.images(node.sweep))
    first, second = (read_state(node.run, 1) for node in nodes)
    assert first["bn1.num_batches_tracked"] == 2 and not torch.equal(first["fc.weight"], second["fc.weight"])
    assert [record["training_iteration"] for record in read_records(nodes[0].run)] == [0, 1]

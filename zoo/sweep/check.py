"""Every value of a grid, before anything trains."""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from zoo.data.augment import augment
from zoo.data.check import check as check_data
from zoo.engines import lanes
from zoo.errors import ZooError, one_line
from zoo.models.initialise import initialise
from zoo.node.build import build, build_schedule, require_tensors_of_parent
from zoo.node.from_zoo import is_from_zoo
from zoo.node.node import Node
from zoo.node.steps import batches_per_epoch, total_steps
from zoo.run import compiler  # noqa: F401  which a step with an optimizer would import
from zoo.run.trainer_options import check_options
from zoo.sweep.values import check_choice, check_config

ANY_SIZE = 32  # pixels of images that keep their own size, which is not known before they are read


def check(nodes: Sequence[Node]) -> dict[Path, dict[str, Node]]:
    """The nodes of each sweep by their names, if all of them can be trained."""
    check_values([node.config for node in nodes])
    sweeps: dict[Path, dict[str, Node]] = {}
    for node in nodes:
        twin = sweeps.setdefault(node.sweep, {}).setdefault(node.name, node)
        if twin is not node:
            raise ZooError(
                f"two nodes of the grid train the same model: {' '.join(twin.overrides)} and "
                f"{' '.join(node.overrides)}. {why_the_same(twin, node)}"
            )
    return sweeps


def why_the_same(twin: Node, node: Node) -> str:
    """What to do about two nodes of one name."""
    typed = zip(node.overrides, twin.overrides, strict=True)  # by one command
    differing = [one.partition("=")[0] for one, other in typed if one != other]
    if differing == ["draw"]:
        return "Where a preset draws random seeds, sweep `draw`, not `seed`"
    if differing:
        return f"{', '.join(differing)} changes nothing that is trained: give one value, or another zoo.name for each"
    return "Give each value once"


def check_values(configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise ZooError for the first config that can't be trained. Builds each distinct choice once, without memory."""
    checked = set()

    def is_new(*choices: Any) -> bool:
        key = json.dumps(choices)
        known = key in checked
        checked.add(key)
        return not known

    for config in configs:
        check_config(config)
        if is_new("data", config["data"]):
            check_data(config["data"])
        data, model, init, optim = (config[group] for group in ("data", "model", "init", "optim"))
        for group in ("model", "init", "optim", "schedule", "augmentation"):
            if is_new(group, config[group]):
                check_choice(group, config[group])
        with torch.device("meta"):
            if is_new(data["channels"], data["size"], model, checked_init(config), optim.get("_target_")):
                check_model(config)
        if is_new("training", optim, config["schedule"]):
            check_training(optim, config["schedule"])
        if is_new("augmentation", data["channels"], data["size"], config["augmentation"]):
            check_augmentation(config)
        if is_new("trainer", config["trainer"], data["train"], config["batch_size"]):
            check_trainer(config)


def checked_init(config: Mapping[str, Any]) -> Any:
    """What of `init` a model is checked with: all states of a zoo have the same tensors."""
    return config["init"].get("zoo") if is_from_zoo(config) else config["init"]


def check_model(config: Mapping[str, Any]) -> None:
    data, model, init = config["data"], config["model"], config["init"]
    network = attempt("model", model, lambda: build(model))
    if is_from_zoo(config):
        require_tensors_of_parent(config, network)
    elif not isinstance(init.get("weight"), Mapping) or "bias" not in init:
        raise ZooError(
            f"init={init['name']}: its YAML file must have `weight`, with the _target_ of a function that draws a "
            "tensor in place and _partial_: true, and `bias`, a number, as conf/init/uniform.yaml has"
        )
    else:
        distribution = attempt("init", init, lambda: build(init))
        attempt("init", init, lambda: initialise(network, distribution["weight"], distribution["bias"]))
    for key in ("lr", "weight_decay", "momentum"):
        if isinstance(config["optim"].get(key), str):
            raise ZooError(f"optim.{key}={config['optim'][key]}: must be a number")
    attempt("optim", config["optim"], lambda: build(config["optim"])(network.parameters()))
    if data["size"] is None:
        return
    try:
        outputs = output_shape(network, (data["channels"], data["size"], data["size"]))
    except RuntimeError as error:
        raise ZooError(
            f"model={model['name']} can't take images of {data['size']}x{data['size']} pixels with "
            f"{data['channels']} channels (data={data['name']}): {error}. Leave data.size to the model's image_size"
        ) from error
    if outputs != (1, data["classes"]):
        raise ZooError(f"model={model['name']} gives outputs {outputs}, not (1, {data['classes']})")


def output_shape(network: torch.nn.Module, image_shape: Sequence[int]) -> tuple[int, ...]:
    """Of a batch of one image. Raises RuntimeError if the network, on the device `meta`, can't take such images.

    It is asked for them where the CPU engine doesn't know: for a convolution without data PyTorch imports SymPy.
    """
    try:
        return (1, lanes.classes(lanes.chain(network), image_shape))
    except lanes.Unsupported:
        return tuple(network.eval()(torch.zeros(1, *image_shape)).shape)


def check_training(optim: Mapping[str, Any], schedule: Mapping[str, Any]) -> None:
    """Take a step with the optimizer and its schedule, and see that training can be resumed with them."""
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    parameter.grad = torch.zeros(2, 2)
    optimizer = attempt("optim", optim, lambda: build(optim)([parameter]))
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ZooError(f"optim={optim['name']}: {optim['_target_']} makes no torch.optim.Optimizer")
    if schedule.get("interval", "step") not in ("step", "epoch"):
        raise ZooError(f"schedule.interval={schedule['interval']}: must be step (after every batch) or epoch")
    made = attempt("schedule", schedule, lambda: build_schedule(schedule, optimizer))
    attempt("optim", optim, optimizer.step)
    attempt("optim", optim, lambda: require_resumable(optimizer.state_dict()))
    if made:
        check_schedule(schedule, made)


def check_schedule(schedule: Mapping[str, Any], made: Any) -> None:
    if isinstance(made, ReduceLROnPlateau):
        raise ZooError(
            f"schedule={schedule['name']}: ReduceLROnPlateau waits for a metric, and schedules here go by steps or "
            "epochs alone. Choose one of those, as in conf/schedule"
        )
    if not isinstance(made, LRScheduler):
        raise ZooError(f"schedule={schedule['name']}: {schedule['_target_']} makes no schedule of PyTorch's")
    attempt("schedule", schedule, made.step)
    attempt("schedule", schedule, lambda: require_resumable(made.state_dict()))


def require_resumable(state: Mapping[str, Any]) -> None:
    """Raise ValueError if a state can't be saved and read back without running code."""
    file = BytesIO()
    try:
        torch.save(state, file)
        file.seek(0)
        torch.load(file, weights_only=True)
    except Exception as error:  # whatever pickling its values raises
        raise ValueError("its state holds more than numbers and tensors, so training could not be resumed") from error


def check_augmentation(config: Mapping[str, Any]) -> None:
    data, augmentation = config["data"], config["augmentation"]
    size = data["size"] or ANY_SIZE
    images, black = torch.zeros(2, data["channels"], size, size), torch.zeros(data["channels"])
    attempt("augmentation", augmentation, lambda: augment(images, black, **build(augmentation)))


def check_trainer(config: Mapping[str, Any]) -> None:
    trainer = config["trainer"]
    check_options(trainer)
    limit = trainer.get("limit_train_batches")
    if limit is not None and total_steps(config) == 0:
        batches = batches_per_epoch(config["data"]["train"], config["batch_size"])
        raise ZooError(f"trainer.limit_train_batches={limit}: leaves none of the {batches} batches")
    if any(trainer.get(key) for key in ("callbacks", "logger", "profiler")):
        from zoo.run.trainer import callbacks, loggers, profiler  # PyTorch Lightning takes seconds to import

        callbacks(trainer)
        loggers(trainer, Path())
        profiler(trainer)


def attempt(group: str, choice: Mapping[str, Any], construct: Any) -> Any:
    """`construct()`; whatever it raises, say of which choice."""
    try:
        return construct()
    except Exception as error:
        cause = error.__cause__ or error  # Hydra wraps what the class itself raised
        given = ", ".join(f"{group}.{key}={value}" for key, value in choice.items() if not key.startswith("_"))
        raise ZooError(f"{given}: {one_line(cause)}") from error

"""From the weights of a model to the network, built from this package or libraries: not by the zoo's code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.model_source import arguments
from zoo.format.reading import checking, damaged
from zoo.format.source import Source
from zoo.models.known import known_model

DOWNLOADS = ("weights", "weights_backbone", "pretrained", "pretrained_backbone")  # torchvision's arguments that do
LARGEST = 2**20  # of a size among the arguments
LONGEST = 2**8  # list of them


@runtime_checkable
class WithCode(Protocol):
    """A source that has the code of its models' class: run only if the user trusts it."""

    def code(self) -> tuple[Path, bytes]: ...


def build_network(source: Source, model: int, trust: bool = False) -> nn.Module:
    """The network of a model, with any weights, in evaluation mode.

    Classes of `zoo.models` and of torch.nn, and torchvision's models, are built from what params.json says. For any
    other, model.py of the zoo is run, if `trust` says so. Raises ZooError, which names the file, if not, and if what
    was built has other tensors than the zoo.
    """
    params = source.params(model)
    named = f"params.json of model {model} in {source.path}"
    if not key_of(source, model):
        raise ZooError(f"{named} names no class, as the model was trained elsewhere: there is no network of it here")
    with checking(named):
        choice = dict(params["config"]["model"])
        builder = known_model(str(choice.get("_target_")))
        given = arguments(choice)
    build: Callable[[], nn.Module]
    if builder:
        require_plain(named, given)
        build = lambda: builder(**given)  # noqa: E731
    else:
        build = trusted(source, params, named, trust)
    with checking(named):
        return network_like(source.architecture, build)


def key_of(source: Source, model: int) -> str:
    """Equal for models whose networks differ in nothing but weights; empty where nobody says which class they are."""
    config = source.params(model).get("config")
    return repr(config["model"]) if isinstance(config, Mapping) and "model" in config else ""


def is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | str | float) or (type(value) is int and value <= LARGEST)


def require_plain(named: str, given: Mapping[str, Any]) -> None:
    """Raise ZooError if an argument is more than a name or a size, or would have something downloaded."""
    for key, value in given.items():
        items = value if isinstance(value, list) and len(value) <= LONGEST else [value]  # one of each layer
        if key in DOWNLOADS or not all(map(is_plain, items)):
            raise damaged(named, f"the network's argument {key}={value!r} is none that a zoo's may have")


def trusted(source: Source, params: Mapping[str, Any], named: str, trust: bool) -> Callable[[], nn.Module]:
    """Builds the network by the code that came with the zoo."""
    target = params["config"]["model"].get("_target_")
    if not isinstance(source, WithCode):
        raise ZooError(f"{named} names the class {target!r}, which is not known here, and there is no code of it")
    path, code = source.code()
    if not trust:
        raise ZooError(
            f"{named} names the class {target!r}, which is not known here. Its code is {path}: read it, "
            "then give trust=True to have it run"
        )
    with checking(path):
        build = executed(path, code)["build"]
    return lambda: build(params)


def executed(path: Path, code: bytes) -> dict[str, Any]:
    """What the code of a model.py defines. It is executed, and leaves no compiled file there."""
    made: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    exec(compile(code, str(path), "exec"), made)
    return made


def network_like(architecture: Architecture, build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes, in evaluation mode; without memory first, whatever sizes the arguments have.

    Raises ValueError if it has not these tensors.
    """
    with torch.device("meta"):
        planned = Architecture.of(build())
    if planned.tensors != architecture.tensors:
        raise ValueError(f"as a network, {architecture.difference(planned)}")
    with torch.random.fork_rng(devices=[]):  # the user's random numbers stay as they are
        return build().eval()


def with_weights(network: nn.Module, architecture: Architecture, vector: Tensor) -> nn.Module:
    """The network with the weights of a vector [parameters]: by order, as a converted zoo may have keys of its own."""
    pieces = architecture.unflatten(vector, 0).values()
    network.load_state_dict(dict(zip(network.state_dict(), pieces, strict=True)))
    return network


def checked_vector(weights: Tensor, architecture: Architecture) -> Tensor:
    """Raises ZooError unless it is [parameters]."""
    if weights.shape != (architecture.length,):
        raise ZooError(f"the weights of {architecture.model} are [{architecture.length}], not {list(weights.shape)}")
    return weights

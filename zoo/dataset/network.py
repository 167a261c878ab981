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

Params = Mapping[str, Any]  # what a model's params.json holds
Build = Callable[[Params], nn.Module]

DOWNLOADS = ("weights", "weights_backbone", "pretrained", "pretrained_backbone")  # torchvision's arguments that do
LARGEST = 2**20  # of a size among the arguments
LONGEST = 2**8  # list of them


@runtime_checkable
class WithCode(Protocol):
    """A source that has the code of its models' class: run only if the user trusts it."""

    def code(self) -> tuple[Path, bytes]: ...


def build_network(source: Source, model: int, trust: bool = False, build: Build | None = None) -> nn.Module:
    """The network of a model, with any weights, in evaluation mode.

    Classes of `zoo.models` and of torch.nn, and torchvision's models, are built from what params.json says. For any
    other, model.py of the zoo is run, if `trust` says so. `build`, which the user gives, goes before
    all that. Raises ZooError, which names the file, if a class is not known, and if what was built has other tensors
    than the zoo.
    """
    params = source.params(model)
    named = f"params.json of model {model} in {source.path}"
    if build:
        return built_by(build, params, source)
    if choice_in(params) is None:
        raise ZooError(
            f"{named} names no class of a network: give ZooDataset `build`, a function that makes one of a model's "
            f"params, or load `state_dict({model})` into a network of your own"
        )
    with checking(named):
        make = maker(source, params, named, trust)
        return network_like(source.architecture, make)


def choice_in(params: Params) -> Any:
    """What conf/model has of the class; None if that is not known, as of models made elsewhere."""
    config = params.get("config")
    return config.get("model") if isinstance(config, Mapping) else None


def maker(source: Source, params: Params, named: str, trust: bool) -> Callable[[], nn.Module]:
    """Builds the network by what the params say, or by the zoo's code."""
    choice = dict(choice_in(params))
    builder = known_model(str(choice.get("_target_")))
    if not builder:
        return trusted(source, params, named, trust)
    given = arguments(choice)
    require_plain(named, given)
    return lambda: builder(**given)


def built_by(build: Build, params: Params, source: Source) -> nn.Module:
    """What the user's function makes. The names of its tensors may be others: weights go in by their order."""
    network = build(params)
    if not isinstance(network, nn.Module):
        raise ZooError(f"build={build!r} gives a {type(network).__name__}: let it give a network, a torch.nn.Module")
    own = [list(value.shape) for value in network.state_dict().values()]
    if own != (shapes := [entry.shape for entry in source.architecture.tensors]):
        raise ZooError(
            f"build={build!r} gives a network with the tensors {own}, but those of {source.path} are {shapes}"
        )
    return network.eval()


def key_of(source: Source, model: int) -> str:
    """Equal for models whose networks differ in nothing but weights."""
    params = source.params(model)
    choice = choice_in(params)
    return repr({key: params[key] for key in params if key.partition(".")[0] == "model"} if choice is None else choice)


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
    target = choice_in(params).get("_target_")
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

"""A sweep: its grid checked, its images prepared and its record written before anything trains."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from zoo import files, paths
from zoo import node as nodes
from zoo.build import build
from zoo.data.prepare import prepare as prepare_images
from zoo.errors import ZooError
from zoo.grid import Point
from zoo.init import initialise
from zoo.packing import ENGINES, notice
from zoo.progress import Progress, Tally
from zoo.record import read_records


def run_node(config: dict[str, Any]) -> dict[str, Any]:
    """Train the node of a plain config; a single run (not one of a multirun) is a sweep of one.

    Returns the last record.
    """
    from zoo.run import train  # PyTorch Lightning takes seconds to import, and launchers have no use for it

    hydra = HydraConfig.get()
    point = Point(list(hydra.overrides.task), config)
    with ExitStack() as held:
        if hydra.mode == RunMode.RUN:
            held.enter_context(training([point], point.overrides))
            if text := notice([point]):
                print(text, file=sys.stderr)
            tally = Tally({point.run: config["trainer"]["max_epochs"]}, config["stop_diverged"])
            tally.look([point.run])
            held.enter_context(Progress(tally)).running.add(point.run)
        held.enter_context(files.storage_errors())
        train([config], [point.run], paths.images(point.sweep))
    return read_records(point.run)[-1]


@contextmanager
def training(points: Iterable[Point], command: Sequence[str]) -> Iterator[list[Point]]:
    """While entered, this process alone trains in the points' sweeps, which are ready for it. Yields the points.

    Every node is checked before anything is written; then what their sweeps share is: config.json, nodes.txt and
    dataset.pt. `command`: the overrides as typed. Raises ZooError for a value that can't be trained, two points that
    are the same node, a sweep directory that holds models of another protocol or in which another process trains, and
    storage that can't be written.
    """
    points = list(points)
    sweeps = check(points)
    images = {}
    for folder, named in sweeps.items():
        Record(folder, named, command)
        images[folder] = prepare_images(next(iter(named.values())).config["data"])
    with files.storage_errors(), ExitStack() as held:
        for folder in sweeps:
            held.enter_context(alone_in(folder))
        for folder, named in sweeps.items():
            # read anew: another process may have written it before the lock was ours
            Record(folder, named, command).write()
            if not paths.images(folder).exists():
                files.link_or_copy(images[folder], paths.images(folder))
        yield points


@contextmanager
def alone_in(sweep: Path) -> Iterator[None]:
    try:
        with files.locked(paths.lock(sweep), wait=False):
            yield
    except BlockingIOError:
        raise ZooError(
            f"{sweep} is being trained by another process: wait for it (python -m zoo.status {sweep} tells how far "
            "it is), or choose another zoo.name"
        ) from None


def check(points: Sequence[Point]) -> dict[Path, dict[str, Point]]:
    """The points of each sweep by the names of their nodes, if all of them can be trained."""
    check_values([point.config for point in points])
    sweeps: dict[Path, dict[str, Point]] = {}
    for point in points:
        twin = sweeps.setdefault(point.sweep, {}).setdefault(point.run.name, point)
        if twin is not point:
            raise ZooError(
                f"two points of the grid train the same model: {' '.join(twin.overrides)} and "
                f"{' '.join(point.overrides)}. Where a preset draws random seeds, sweep `draw`, not `seed`"
            )
    return sweeps


def check_values(configs: Sequence[Mapping[str, Any]]) -> None:
    """Raise ZooError for the first config that can't be trained. Builds each distinct choice once, without memory."""
    checked = set()

    def is_new(*choices: Any) -> bool:
        key = json.dumps(choices)
        known = key in checked
        checked.add(key)
        return not known

    for config in configs:
        if config["engine"] not in ENGINES:
            raise ZooError(f"unknown engine={config['engine']}: choose from {', '.join(ENGINES)}")
        if not re.fullmatch(r"[\w.+-]*\w[\w.+-]*", str(config["zoo"]["name"])):
            raise ZooError(f"zoo.name={config['zoo']['name']}: must be a folder's name, of letters, digits and _.+-")
        for key, value, least in (
            ("seed", config["seed"], 0),
            ("batch_size", config["batch_size"], 1),
            ("trainer.max_epochs", config["trainer"]["max_epochs"], 1),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ZooError(f"{key}={value}: must be a whole number, {least} or more")
        data, model, init, optim = (config[group] for group in ("data", "model", "init", "optim"))
        with torch.device("meta"):
            if is_new(data["channels"], data["size"], model, init):
                check_model(config)
            if is_new(optim):
                attempt("optim", optim, lambda optim=optim: build(optim)([torch.nn.Parameter(torch.zeros(1))]))


def check_model(config: Mapping[str, Any]) -> None:
    data, model, init = config["data"], config["model"], config["init"]
    network = attempt("model", model, lambda: build(model))
    distribution = attempt("init", init, lambda: build(init))
    attempt("init", init, lambda: initialise(network, distribution["weight"], distribution["bias"]))
    if data["size"] is None:
        return
    try:
        logits = network.eval()(torch.zeros(1, data["channels"], data["size"], data["size"]))
    except RuntimeError as error:
        raise ZooError(
            f"model={model['name']} can't take images of {data['size']}x{data['size']} pixels with "
            f"{data['channels']} channels (data={data['name']}): {error}. Leave data.size to the model's image_size"
        ) from error
    if tuple(logits.shape) != (1, data["classes"]):
        raise ZooError(f"model={model['name']} gives outputs {tuple(logits.shape)}, not (1, {data['classes']})")


def attempt(group: str, choice: Mapping[str, Any], construct: Any) -> Any:
    """`construct()`; whatever it raises, say of which choice."""
    try:
        return construct()
    except Exception as error:
        cause = error.__cause__ or error  # Hydra wraps what the class itself raised
        given = ", ".join(f"{group}.{key}={value}" for key, value in choice.items() if not key.startswith("_"))
        raise ZooError(f"{given}: {cause}") from error


class Record:
    """config.json and nodes.txt: a command's nodes, added to those of the commands before it."""

    def __init__(self, folder: Path, points: Mapping[str, Point], command: Sequence[str]):
        self.folder = folder
        before = read_record(folder)
        self.names = list(dict.fromkeys([*before["nodes"], *points]))
        self.commands = before["commands"] + [list(command)] * (list(command) not in before["commands"])
        own, released = Values(before["values"]), Values(before["released"])
        for point in points.values():
            node = nodes.values(point.config)
            own.add(nodes.flat(node))
            released.add(nodes.released(node))
        self.values, self.released = own.lists(), released.lists()
        for key in self.values:
            if len(self.values[key]) > 1 and (
                key in ("data", "model", "trainer.max_epochs") or key.startswith("data.")
            ):
                raise ZooError(
                    f"{folder} would hold models of different {key}: {', '.join(map(str, self.values[key]))}. "
                    "A zoo has one protocol: choose another zoo.name for these"
                )

    def write(self) -> None:
        factors = {key: values for key, values in self.values.items() if len(values) > 1}
        protocol = {key: values[0] for key, values in self.values.items() if len(values) == 1}
        files.write_text(paths.nodes(self.folder), "".join(f"{name}\n" for name in self.names))
        files.write_json(
            paths.config(self.folder),
            {
                "name": self.folder.name,
                "models": len(self.names),
                "search_pattern": factors,
                "protocol": protocol,
                "commands": self.commands,
                "released": {key: v[0] if len(v) == 1 else v for key, v in self.released.items()},
            },
        )


class Values:
    """The distinct values of every key, in the order in which they came."""

    def __init__(self, lists: Mapping[str, list[Any]]):
        self.distinct: dict[str, dict[str, Any]] = {}
        for key, values in lists.items():
            for value in values:
                self.add({key: value})

    def add(self, values: Mapping[str, Any]) -> None:
        for key, value in values.items():
            self.distinct.setdefault(key, {}).setdefault(json.dumps(nodes.canonical(value)), value)

    def lists(self) -> dict[str, list[Any]]:
        return {key: list(values.values()) for key, values in self.distinct.items()}


def read_record(folder: Path) -> dict[str, Any]:
    """A sweep's node names, commands, and lists of values by key; all empty where there is no sweep yet."""
    if not paths.config(folder).exists():
        foreign = [entry for entry in folder.glob("[!.]*") if not paths.hydra(entry).is_dir()]
        if foreign:
            raise ZooError(
                f"{folder} is no sweep: it has no {paths.config(folder).name}, but {foreign[0].name}. "
                "Choose another zoo.name"
            )
        return {"nodes": [], "commands": [], "values": {}, "released": {}}
    config = files.read_json(paths.config(folder))
    values = {key: [value] for key, value in config["protocol"].items()} | config["search_pattern"]
    released = {key: value if isinstance(value, list) else [value] for key, value in config["released"].items()}
    names = paths.nodes(folder).read_text(encoding="utf-8").split()
    return {"nodes": names, "commands": config["commands"], "values": values, "released": released}

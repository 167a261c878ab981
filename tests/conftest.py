"""A tiny sweep and the zoo made of it, trained once a session."""

import json
import os
import pickle
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from zoo.analyze import make_zoo
from zoo.disk import files, paths
from zoo.format.compact import COMPACT
from zoo.format.record import read_records
from zoo.installation import CONF
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.run.run import train
from zoo.sweep.sweep import training

TESTS = Path(__file__).parent
SEARCHED = f"hydra.searchpath=[file://{TESTS}/conf]"

# Tests run on all cores already: more threads, here or in the processes that tests start, would wait for one another.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def configs_are_read_once() -> Iterator[None]:
    """Hydra reads every YAML file anew for every composition, a third of its time. The project's own and Hydra's, which
    no test changes, are kept as Hydra made them of their text."""
    read, kept = ConfigRepository.load_config, {}

    def load_config(self: ConfigRepository, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        place = source and source.full_path()
        if not place or not place.startswith((f"file://{CONF}", f"file://{TESTS}/conf", "pkg://hydra")):
            return read(self, config_path)
        if (place, config_path) not in kept:
            kept[place, config_path] = pickle.dumps(read(self, config_path))
        return pickle.loads(kept[place, config_path])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConfigRepository, "load_config", load_config)
        yield


class Remembering:
    """Hydra's loader, but each command is composed once; folders and names, by which tests differ, are set later."""

    PLACE = re.compile(r"(sweeps|data\.cache)=/[\w./-]+|zoo\.name=(?!null|true|false)[a-z]+")
    composed: dict[tuple[str, ...], bytes] = {}

    def __init__(self, loader: Any):
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def load_configuration(self, name: str, overrides: list[str], run_mode: RunMode) -> DictConfig:
        searched = [override.replace("\\:", ":") for override in overrides if "searchpath" in override]
        if searched != [SEARCHED]:  # the others' files may change
            return self.loader.load_configuration(name, overrides, run_mode=run_mode)
        places = [override for override in overrides if self.PLACE.fullmatch(override)]
        key = (name, str(run_mode), *[override for override in overrides if override not in places])
        if key not in self.composed:
            config = self.loader.load_configuration(name, list(key[2:]), run_mode=run_mode)
            self.composed[key] = pickle.dumps(config)
        config = pickle.loads(self.composed[key])
        for place in places:
            OmegaConf.update(config, *place.split("=", 1))
        return config


@pytest.fixture
def grid() -> Iterator[Callable[..., Grid]]:
    """`grid(*overrides)`: the grid of a command, with the test configs beside the project's own."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = Remembering(GlobalHydra.instance().config_loader())
        yield lambda *overrides: Grid(loader, "train", [SEARCHED, "data=tiny", *overrides])


def prepare(nodes: Iterable[Node], command: Sequence[str] = ()) -> list[Node]:
    """The nodes, their sweeps ready to train in."""
    with training(nodes, command) as prepared:
        return prepared


def train_sweep(folder: Path, *overrides: str) -> list[Node]:
    """Train a sweep in `folder`/sweeps, one node after the other, in this process."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = Remembering(GlobalHydra.instance().config_loader())
        typed = [f"sweeps={folder}/sweeps", f"data.cache={folder}/cache", "zoo.name=tiny", *overrides]
        grid = Grid(loader, "train", [SEARCHED, "data=tiny", *typed])
        nodes = prepare(grid, typed)
    for node in nodes:
        train([node], paths.images(node.sweep))
    return nodes


def forget_digests(run: Path) -> None:
    """Let the records be as those of version 0.1.0; whoever means to do harm can leave the digests out, too."""
    records = [{key: record[key] for key in record if "sha256" not in key} for record in read_records(run)]
    paths.result(run).write_text("".join(json.dumps(record) + "\n" for record in records))


def flipped(content: bytes) -> bytes:
    """With another bit in the middle, among the tensors' bytes: no parser sees that."""
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of 8 CNN-s models (4 seeds with and without dropout, 3 epochs). Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("tiny")
    nodes = train_sweep(folder, "seed=range(0,4)", "model.dropout=0,0.5", "trainer.max_epochs=3")
    return nodes[0].sweep


@pytest.fixture(scope="session")
def zoo(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo of that sweep. Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("zoos") / "tiny"
    make_zoo(sweep, folder)
    return folder


@pytest.fixture
def without_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures of a zoo are made but not drawn, which takes half the time of making a tiny one."""
    monkeypatch.setattr("zoo.analysis.style.write", lambda path, figure: files.write_bytes(path, b""))


@pytest.fixture(scope="session")
def compact(sweep: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a compact zoo. Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("compact") / "tiny"
    make_zoo(sweep, folder, COMPACT)
    return folder

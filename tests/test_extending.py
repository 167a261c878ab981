"""The examples of docs/extending.md, as they stand there."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from PIL import Image
from torch.utils.data import DataLoader

from tests.conftest import TESTS, prepare, train_sweep
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.disk import paths
from zoo.engines import lanes
from zoo.format.record import read_records
from zoo.installation import CONF
from zoo.node.grid import Grid
from zoo.node.node import Node

ROOT = TESTS.parent
PAGE = ROOT / "docs/extending.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"`([\w/.]+\.\w+)`:\n\n\Z")


class Example(NamedTuple):
    language: str
    file: str | None  # that the text before the block names, or, of a diff, the one before it
    text: str


def examples() -> Iterator[Example]:
    page, end, file = PAGE.read_text(), 0, None
    for block in BLOCK.finditer(page):
        named = NAME.search(page[end : block.start()])
        file = named[1] if named else file if block[1] == "diff" else None
        yield Example(block[1], file, block[2])
        end = block.end()


DIFFS = [example for example in examples() if example.language == "diff"]
FILES = {example.file: example.text for example in examples() if example.file and example.language != "diff"}


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the page's files, from which Python imports."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "hydra_plugins/here/__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
        for name in [name for name in sys.modules if name.startswith(("my_", "hydra_plugins.here"))]:
            del sys.modules[name]


@pytest.fixture
def train(mine: Path, tmp_path: Path) -> Callable[..., list[Node]]:
    """Trains one epoch on tiny images, unless told otherwise, with the page's configs beside the project's."""
    path = f"hydra.searchpath=[file://{TESTS}/conf,file://{mine}/my_conf]"
    return lambda *overrides: train_sweep(tmp_path, path, "trainer.max_epochs=1", *overrides)


def change(node: Node) -> float:
    """By how much one epoch changed the weight that it changed most."""
    before, after = (torch.load(paths.checkpoint(node.run, epoch), weights_only=True) for epoch in (0, 1))
    return max((after[key] - before[key]).abs().max().item() for key in before)


def learning_state(node: Node) -> dict:
    return torch.load(paths.optimizer(node.run, 1), weights_only=True)["optimizer"]


def test_the_page_has_an_example_of_everything() -> None:
    groups = {name.split("/")[1] for name in FILES if name.startswith("my_conf/")}
    assert groups == {"model", "optim", "schedule", "init", "zoo", "data"}
    assert {"my_analysis.py", "my_transforms.py", "hydra_plugins/here/launcher.py"} < set(FILES)
    assert len(DIFFS) == 6


def test_an_architecture(train: Callable[..., list[Node]], tmp_path: Path) -> None:
    nodes = train("model=residual", "model.dropout=0,0.2")
    assert "dropout0.2" in nodes[1].name and nodes[0].flat["model"] == "residual"
    assert FILES["my_networks.py"] == paths.source(nodes[0].sweep, "model").read_text()
    make_zoo(nodes[0].sweep, tmp_path / "zoo")
    assert paths.model_source(tmp_path / "zoo").read_text().startswith(FILES["my_networks.py"])
    dataset = ZooDataset(tmp_path / "zoo", epochs=1)
    assert len(dataset) == 2 and dataset.factors == ["model.dropout"]
    assert [tensor.name for tensor in dataset.architecture.tensors] == ["weight", "bias"] * 3
    assert dataset.weights.shape == (2, 784 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10)


def test_optimizers(train: Callable[..., list[Node]]) -> None:
    lion, adamw = train("optim=lion,adamw")
    steps = 4  # 40 images in batches of 10
    assert 0.9 * steps * 1e-4 < change(lion) < 1.01 * steps * 1e-4  # every step of a weight is as long as the rate
    assert set(learning_state(lion)["state"][0]) == {"average"}
    assert learning_state(adamw)["param_groups"][0]["weight_decay"] == 0.01 and change(adamw) > 1e-3


def test_schedules(train: Callable[..., list[Node]]) -> None:
    rates = [learning_state(node)["param_groups"][0]["lr"] for node in train("schedule=exponential,linear")]
    assert rates == pytest.approx([0.001 * 0.9, 0.0], abs=1e-12)


def test_an_initialisation(train: Callable[..., list[Node]]) -> None:
    [node] = train("init=truncated")
    weights = torch.load(paths.checkpoint(node.run, 0), weights_only=True)
    biases = [weights[key] for key in weights if key.endswith("bias")]
    assert all(torch.equal(bias, torch.zeros_like(bias)) for bias in biases)
    assert torch.cat([weights[key].flatten() for key in weights if key.endswith("weight")]).std() == pytest.approx(
        0.05, rel=0.1
    )


def test_a_preset(mine: Path) -> None:
    path = f"hydra.searchpath=[file://{mine}/my_conf]"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        preset = [path, "+zoo=momentum"]
        config = loader.load_configuration("train", preset, run_mode=RunMode.MULTIRUN)
        params = [f"{key}={value}" for key, value in config.hydra.sweeper.params.items()]
        nodes = list(Grid(loader, "train", [*preset, *params]))
    assert len(nodes) == len({node.name for node in nodes}) == 2 * 3 * 10
    flat = nodes[-1].flat
    assert (flat["data"], flat["optim"], flat["optim.momentum"], flat["optim.lr"], flat["seed"]) == (
        *("usps", "sgd"),
        *(0.9, 1e-3, 10),
    )
    assert nodes[0].sweep.name == "momentum" and nodes[0].max_epochs == 25


def test_images(train: Callable[..., list[Node]], tmp_path: Path) -> None:
    for label, name in enumerate(("circle", "cross", "square")):
        folder = tmp_path / "data/shapes" / name
        folder.mkdir(parents=True)
        for number in range(10):
            Image.fromarray(np.full((20, 20), 80 * label + number, dtype=np.uint8)).save(folder / f"{number}.png")
    [node] = train("data=shapes", f"data.root={tmp_path}/data")
    images = torch.load(paths.images(node.sweep), weights_only=True)
    assert images["classes"] == ["circle", "cross", "square"] and images["trainset"]["images"].shape == (24, 1, 28, 28)
    brightness = images["trainset"]["images"].mean(dim=(1, 2, 3)) * 0.25 + 0.5
    assert torch.equal((brightness * 255 / 80).int(), images["trainset"]["labels"].int())
    assert len(read_records(node.run)) == 2


def test_an_analysis(mine: Path, zoo: Path) -> None:
    dataset = ZooDataset(zoo)
    table = importlib.import_module("my_analysis").norms(dataset)
    last = ZooDataset(zoo, epochs=3)
    norms = last.weights.norm(dim=1).numpy()
    assert table.index.tolist() == [0, 1, 2, 3]
    assert table["mean"][3] == pytest.approx(norms.mean())
    assert table["correlation"][3] == pytest.approx(np.corrcoef(norms, last.properties["test_acc"])[0, 1])


def test_a_transform(mine: Path, zoo: Path) -> None:
    plain = ZooDataset(zoo, epochs=3)
    transform = importlib.import_module("my_transforms").Norms(plain.architecture)
    norms = torch.stack([weights for weights, _ in ZooDataset(zoo, epochs=3, transform=transform)])
    state = plain.state_dict(model=5, epoch=3)
    assert norms[5] == pytest.approx([tensor.norm().item() for tensor in state.values()])
    [batch, _] = next(iter(DataLoader(ZooDataset(zoo, epochs=3, transform=transform), batch_size=8)))
    assert torch.equal(batch, norms)


def test_a_launcher(mine: Path, grid: Callable[..., Grid], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    launcher = importlib.import_module("hydra_plugins.here.launcher").HereLauncher()
    overrides = [f"sweeps={tmp_path}/sweeps", f"data.cache={tmp_path}/cache", "seed=0,1", "trainer.max_epochs=1"]
    nodes = prepare(grid(*overrides))
    with launcher.starting_up(len(nodes)):
        launcher.launch_sweep(nodes)
    assert [len(read_records(node.run)) for node in nodes] == [2, 2]
    assert "2 runs done, 0 failed" in capfd.readouterr().err


@pytest.mark.slow
def test_hydra_finds_the_launcher(mine: Path, tmp_path: Path) -> None:
    arguments = ["-m", "hydra/launcher=here", "seed=0,1", "trainer.max_epochs=1", "data=tiny", "zoo.name=here"]
    done = run(tmp_path, f"{ROOT}/train.py", f"--config-dir={TESTS}/conf", *arguments, paths=[ROOT, mine])
    assert done.returncode == 0, done.stderr
    assert "2 runs done, 0 failed" in done.stderr


def test_the_engines_files_are_as_the_page_says() -> None:
    for diff in DIFFS:
        before, _ = sides(diff)
        assert (ROOT / str(diff.file)).read_text().count(before) == 1, f"{diff.file} has no\n{before}"


def test_what_the_page_names_is_there() -> None:
    page = PAGE.read_text()
    for name in set(re.findall(r"`((?:zoo|conf|tests|docs|benchmarks)/[\w/.]+)`", page)) - set(FILES):
        assert (ROOT / name).exists(), name
    engine = ROOT / "zoo/engines/lanes"
    for file, name in (
        *(("src/numbers.h", "define ACTIVATIONS("), ("src/numbers.h", "define OPTIMIZERS(")),
        *(("src/kernels/activation.h", "activate("), ("layers.py", "ACTIVATIONS"), ("engine.py", "STATE")),
        *(("chain.py", "ACTIVATION_FUNCTIONS"), ("src/layers/layer.h", "class Layer "), ("src/simd.h", "kLanes")),
        *(("src/optimizers/step.h", "case Optimizer::sgd"), ("src/layers/linear.h", "class Linear ")),
    ):
        assert name in (engine / file).read_text(), (file, name)


@pytest.mark.slow
@pytest.mark.skipif(not lanes.available(), reason="needs a C++ compiler")
def test_a_layer_for_the_engine(tmp_path: Path) -> None:
    """The kernels are built with it, and its gradients are PyTorch's."""
    for name in ("zoo", "build_backend", "tests/engines"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in FILES:
        if name.startswith("zoo/"):
            (tmp_path / name).write_text(FILES[name])
    for diff in DIFFS:
        path = tmp_path / str(diff.file)
        path.write_text(path.read_text().replace(*sides(diff)))
    environment = {"KERNEL_FLAGS": "-O0"}
    built = run(tmp_path, "setup.py", "--quiet", "build_ext", "--inplace", paths=[tmp_path], environment=environment)
    assert built.returncode == 0 and not built.stderr, built.stderr
    chosen = ["-k", "average", "-p", "no:cacheprovider", "--noconftest"]
    done = run(tmp_path, "-m", "pytest", "tests/engines/test_lanes.py", *chosen, paths=[tmp_path])
    assert done.returncode == 0, done.stdout
    assert f"{len(lanes.variants())} passed" in done.stdout


def sides(diff: Example) -> tuple[str, str]:
    """What a diff's lines are before and after."""
    lines = diff.text.splitlines()
    return (
        "\n".join(line[1:] for line in lines if line[:1] in ("-", " ", "")),
        "\n".join(line[1:] for line in lines if line[:1] in ("+", " ", "")),
    )


def run(
    folder: Path, *arguments: str, paths: list[Path], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*paths, folder])), **(environment or {})}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=found, capture_output=True, text=True, timeout=600
    )

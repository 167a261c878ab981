"""Loading a zoo: what takes how long, in user and system seconds, of this version and of another beside it.

    python benchmarks/loading.py [--models 500] [--epochs 50] [--rounds 3] [--beside FOLDER] [--large]

Makes a zoo of CNN-s models of made-up numbers where the system has its temporary files, and opens it with each version,
in turns, as many rounds as asked; of each figure, the best. `--beside`: a checkout (such as one by `git worktree add`);
what it does not have is left out. `--large`: instead a zoo of 1,000,000 models at two epochs, whose weights are a
sparse file.

It prints a row for each figure and a column for each version: milliseconds to open the zoo and to sum all states from
the map; states (or windows of 5 epochs) a second, taken singly, and through a shuffling DataLoader with properties, all
in one process on one thread; the same of tokens with masks and positions; and as baseline the released layout, one file
a state, read by torch.load. Of a large zoo also seconds to the first sample, which reads the tables, and peak memory.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).parent.parent
ROWS = 5_000  # samples taken for a rate
FILES = 500  # states of one file each
LARGE = 1_000_000  # models
WINDOW = 5  # epochs, or as many as there are

Figures = dict[str, float]


def make(zoo: Path, models: int, epochs: int, sparse: bool) -> None:
    """A zoo of CNN-s with epochs 0 to `epochs`. Its weights are zeros that take no place if `sparse`."""
    from zoo.data.images import Images, Split
    from zoo.disk import files, paths
    from zoo.format import binary_tables, tables
    from zoo.format.architecture import Architecture
    from zoo.format.weights import WeightsWriter
    from zoo.models.cnn import CNNSmall

    zoo.mkdir()
    architecture = Architecture.of(CNNSmall(1))
    architecture.save(paths.architecture(zoo))
    if sparse:
        write_sparse(paths.weights(zoo), models, epochs + 1, architecture.length)
    else:
        with WeightsWriter(zoo, epochs + 1, architecture.length) as writer:
            for model in range(models):
                generator = torch.Generator().manual_seed(model)
                writer.add(torch.randn(epochs + 1, architecture.length, generator=generator))
    states = made_up_states(models, epochs)
    tables.write(paths.metrics(zoo), states)
    chosen = made_up_models(models)
    tables.write(paths.models(zoo), chosen.join(tables.outcome(states, epochs), on="id"))
    files.write_json(paths.config(zoo), {"search_pattern": {"seed": list(range(models))}, "protocol": {}})
    split = Split(torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64))
    Images("made up", split, split, split, 0, ["a"], [0.0], [1.0]).save(paths.images(zoo))
    write_files(zoo)
    if sparse:
        binary_tables.write(zoo, epochs + 1, variants=1)


def write_files(zoo: Path) -> None:
    """Some states in the released layout."""
    from zoo.disk import paths
    from zoo.models.cnn import CNNSmall

    network = CNNSmall(1)
    for number in range(FILES):
        path = paths.checkpoint(paths.runs(zoo) / "a", number)
        path.parent.mkdir(parents=True)
        torch.save(network.state_dict(), path)


def write_sparse(path: Path, models: int, epochs: int, parameters: int) -> None:
    size = 4 * models * epochs * parameters
    tensor = {"dtype": "F32", "shape": [models, epochs, parameters], "data_offsets": [0, size]}
    text = json.dumps({"weights": tensor}).encode().ljust(248)
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + size)


def made_up_models(models: int) -> pd.DataFrame:
    ids = np.arange(models)
    texts = {"data": "mnist", "model": "cnn_small", "model.activation": "tanh"}
    return pd.DataFrame(
        {
            **{
                "id": ids,
                "node": [f"tanh_kaiming_uniform_adam_lr0.001_seed{id}_{id:010x}" for id in ids],
                "variant": 0,
            },
            **{**texts, "model.dropout": 0.0, "init": "kaiming_uniform", "optim": "adam", "optim.lr": 1e-3},
            **{"optim.weight_decay": 0.0, "schedule": "constant", "augmentation": "none", "batch_size": 4, "seed": ids},
        }
    )


def made_up_states(models: int, epochs: int) -> pd.DataFrame:
    from zoo.format import tables

    count = models * (epochs + 1)
    drawn = np.random.default_rng(0).random((count, 6)).round(4)
    table = pd.DataFrame(drawn, columns=tables.LOSSES_AND_ACCURACIES)
    table.insert(0, "id", np.repeat(np.arange(models), epochs + 1))
    table.insert(1, "epoch", np.tile(np.arange(epochs + 1), models))
    table["ggap"] = table["train_acc"] - table["test_acc"]
    return table.assign(diverged=False)


def seconds(do: Callable[[], object]) -> tuple[float, float]:
    """User and system seconds, and those of the clock."""
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    do()
    after = resource.getrusage(resource.RUSAGE_SELF)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return own, time.perf_counter() - start


def best(do: Callable[[], object], rounds: int = 5) -> float:
    return min(seconds(do)[0] for _ in range(rounds))


def measure(zoo: Path) -> Figures:
    """Of the version that is imported."""
    from zoo import ZooDataset

    dataset = ZooDataset(zoo)
    figures = {"open, ms": 1000 * best(lambda: ZooDataset(zoo))}
    figures["sum of all states, ms"] = 1000 * best(lambda: dataset.weights.sum())
    figures |= rates("states", dataset)
    figures["one file a state, states a second"] = FILES / best(lambda: read_files(zoo), 2)
    return figures | (measure_newer(zoo) if importlib.util.find_spec("zoo.dataset.transforms") else {})


def measure_newer(zoo: Path) -> Figures:
    """What version 0.1.0 did not have."""
    from zoo import ZooDataset
    from zoo.dataset.transforms import Tokenise

    states = ZooDataset(zoo)
    window, tokenise = min(WINDOW, len(states.epochs)), Tokenise(states.architecture)
    figures = rates(f"windows of {window}", ZooDataset(zoo, window=window))
    figures |= rates("states as tokens", ZooDataset(zoo, transform=tokenise))
    figures |= rates(f"windows of {window} as tokens", ZooDataset(zoo, window=window, transform=tokenise), batch=64)
    packed = paths_of_zip(zoo)
    figures["open the zip file, ms"] = 1000 * best(lambda: ZooDataset(packed))
    figures |= rates("states of the zip file", ZooDataset(packed))
    splits = {"a": 0.5, "b": 0.5}
    figures["open with seeded splits, stratified, ms"] = 1000 * best(
        lambda: ZooDataset(zoo, split="a", splits=splits, stratify="optim").rows, 2
    )
    return figures


def measure_large(zoo: Path) -> Figures:
    """Of a large zoo, whose tables are read when they are first used."""
    from zoo import ZooDataset

    datasets: list[ZooDataset] = []
    figures = {"open, s": seconds(lambda: datasets.append(ZooDataset(zoo)))[0]}
    figures["first sample, s"] = seconds(lambda: datasets[0][0])[0]
    figures |= rates("states", datasets[0])
    figures["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def rates(what: str, dataset: Any, batch: int = 256) -> Figures:
    """Samples a second, in random order."""
    from torch.utils.data import DataLoader, Subset

    order = np.random.default_rng(0).integers(0, len(dataset), ROWS).tolist()
    dataset[0]

    def taken() -> None:
        for index in order:
            dataset[index]

    def loaded() -> None:
        for _ in DataLoader(Subset(dataset, order), batch_size=batch, shuffle=True):
            pass

    return {
        f"{what} a second": ROWS / best(taken),
        f"{what} a second, DataLoader": ROWS / best(loaded),
    }


def paths_of_zip(zoo: Path) -> Path:
    return zoo.with_suffix(".zip")


def read_files(zoo: Path) -> None:
    for path in sorted((zoo / "models").glob("*/*/checkpoints")):
        torch.load(path, weights_only=True)


def run(root: Path, zoo: Path, what: str) -> Figures:
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", what, "--zoo", str(zoo)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--measure", choices=["usual", "large"], help=argparse.SUPPRESS)
    parser.add_argument("--zoo", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        torch.set_num_threads(1)
        print(json.dumps((measure_large if options.measure == "large" else measure)(options.zoo)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder) / "zoo", options)


def compare(zoo: Path, options: argparse.Namespace) -> None:
    sys.path.insert(0, str(ROOT))
    make(zoo, LARGE if options.large else options.models, 1 if options.large else options.epochs, options.large)
    if not options.large:
        stored(zoo, paths_of_zip(zoo))
    roots = {"beside": options.beside.resolve()} if options.beside else {}
    roots["this version"] = ROOT
    found: dict[str, list[Figures]] = {name: [] for name in roots}
    for _ in range(options.rounds):
        for name, root in roots.items():
            found[name].append(run(root, zoo, "large" if options.large else "usual"))
    columns = {name: best_of(rounds) for name, rounds in found.items()}
    table = pd.DataFrame(columns, index=list(columns["this version"]))
    print(table.round(1).to_string())


def best_of(rounds: list[Figures]) -> Figures:
    """The highest of rates, the lowest of all else."""
    return {key: (max if " a second" in key else min)(figures[key] for figures in rounds) for key in rounds[0]}


def stored(zoo: Path, archive: Path) -> None:
    """The zoo as `analyze.py` packs it: not compressed."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(zoo.iterdir()):
            if path.is_file():
                file.write(path, f"{zoo.name}/{path.name}")


if __name__ == "__main__":
    main()

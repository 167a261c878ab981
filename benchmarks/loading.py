"""Loading a zoo: what takes how long, beside another version of this project, in user and system seconds.

    python benchmarks/loading.py [--models 500] [--epochs 50] [--beside FOLDER] [--large]

Makes a zoo of CNN-s models of made-up numbers where the system has its temporary files, and opens it with each version,
`--beside` first: a checkout (such as one by `git worktree add`). `--large`: instead a zoo of 1,000,000 models at two
epochs, whose weights are a sparse file.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).parent.parent
ROWS = 20_000  # samples taken for a rate
LARGE = 1_000_000


def make(zoo: Path, models: int, epochs: int, sparse: bool) -> None:
    """A zoo of CNN-s with epochs 0 to `epochs`. Its weights are zeros that take no place if `sparse`."""
    from zoo.data.images import Images, Split
    from zoo.disk import files, paths
    from zoo.format import tables
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


def measure(zoo: Path, newer: bool) -> None:
    """Print a JSON object of figures, of the version that is imported."""
    from torch.utils.data import DataLoader

    from zoo import ZooDataset

    torch.set_num_threads(1)
    figures: dict[str, float] = {"open, ms": 1000 * best(lambda: ZooDataset(zoo))}
    dataset = ZooDataset(zoo)
    order = np.random.default_rng(0).integers(0, len(dataset), ROWS).tolist()
    figures["sum of all states, ms"] = 1000 * best(lambda: dataset.weights.sum())
    dataset[0]

    def taken(chosen: ZooDataset) -> float:
        some = [index % len(chosen) for index in order]
        return ROWS / best(lambda: [chosen[index] for index in some])

    def loaded(chosen: ZooDataset) -> float:
        subset = torch.utils.data.Subset(chosen, [index % len(chosen) for index in order])
        return ROWS / best(lambda: list(DataLoader(subset, batch_size=256, shuffle=True)))

    figures["random states a second"] = taken(dataset)
    figures["shuffling DataLoader, states a second"] = loaded(dataset)
    if newer:
        windows = ZooDataset(zoo, window=5)
        figures["random windows of 5 a second"] = taken(windows)
        figures["shuffling DataLoader, windows of 5 a second"] = loaded(windows)
        figures["seeded splits, stratified, ms"] = 1000 * best(
            lambda: ZooDataset(zoo, split="a", splits={"a": 0.5, "b": 0.5}, stratify="optim").rows, 2
        )
    print(json.dumps(figures))


def measure_large(zoo: Path) -> None:
    """The same of a large zoo, whose tables are read when they are first used."""
    from torch.utils.data import DataLoader

    from zoo import ZooDataset

    torch.set_num_threads(1)
    datasets: list[ZooDataset] = []
    figures = {"open, s": seconds(lambda: datasets.append(ZooDataset(zoo)))[1]}
    dataset = datasets[0]
    figures["first sample, s"] = seconds(lambda: dataset[0])[1]
    order = np.random.default_rng(0).integers(0, len(dataset), ROWS).tolist()
    figures["random states a second"] = ROWS / best(lambda: [dataset[index] for index in order])
    subset = torch.utils.data.Subset(dataset, order)
    figures["shuffling DataLoader, states a second"] = ROWS / best(
        lambda: list(DataLoader(subset, batch_size=256, shuffle=True))
    )
    figures["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(figures))


def run(root: Path, zoo: Path, what: str) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", what, "--zoo", str(zoo)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--measure", choices=["older", "newer", "large"], help=argparse.SUPPRESS)
    parser.add_argument("--zoo", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure == "large":
        measure_large(options.zoo)
    elif options.measure:
        measure(options.zoo, options.measure == "newer")
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder) / "zoo", options)


def compare(zoo: Path, options: argparse.Namespace) -> None:
    sys.path.insert(0, str(ROOT))
    if options.large:
        make(zoo, LARGE, 1, sparse=True)
        rows = {"this version": run(ROOT, zoo, "large")}
    else:
        make(zoo, options.models, options.epochs, sparse=False)
        rows = {"beside": run(options.beside.resolve(), zoo, "older")} if options.beside else {}
        rows["this version"] = run(ROOT, zoo, "newer")
    print(pd.DataFrame(rows).round(1).to_string())


if __name__ == "__main__":
    main()

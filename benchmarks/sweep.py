"""Whole sweeps, end to end: `train.py -m` beside the plain PyTorch loop, each on all cores, start-up included.

    python benchmarks/sweep.py --data-root FOLDER_OF_MNIST [--models 64] [--epochs 1] [--rounds 1]

Both train models of the MNIST Seed zoo on all of MNIST, evaluate them and write checkpoints and records at every
epoch. The plain loop runs in one process per core, which share the models evenly. One after the other, so that a noisy
machine is noisy for both.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from joblib import cpu_count

ROOT = Path(__file__).parent.parent


def time_ours(folder: Path, data_root: Path, models: int, epochs: int) -> float:
    """Seconds that the command takes; makes dataset.pt, which the plain loop then uses, at its first call only."""
    command = [sys.executable, ROOT / "train.py", "-m", "+zoo=mnist_seed", f"seed=range(1,{models + 1})"]
    command += [f"trainer.max_epochs={epochs}", f"data.root={data_root.absolute()}", "data.download=false"]
    command += [f"sweeps={folder / 'sweeps'}", f"data.cache={folder / 'cache'}"]
    began = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def time_plain(folder: Path, dataset: Path, models: int, epochs: int) -> float:
    """Seconds until all processes of the plain loop are done."""
    cores = cpu_count()
    bounds = [1 + models * core // cores for core in range(cores + 1)]
    began = time.perf_counter()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.plain", "--dataset", dataset, "--epochs", str(epochs)]
            + ["--seeds", str(first), str(following - 1), "--out", folder / "plain"],
            cwd=ROOT,
        )
        for first, following in zip(bounds, bounds[1:], strict=False)
    ]
    assert not any(process.wait() for process in processes)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Whole sweeps beside the plain PyTorch loop.")
    parser.add_argument("--data-root", type=Path, required=True, help="the folder that holds MNIST/raw")
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for number in range(options.rounds + 1):
            folder = Path(name) / str(number)
            if number == 0:  # a small sweep first: it prepares the images, which both then use
                time_ours(folder, options.data_root, 1, 1)
                cache = folder / "cache"
                continue
            folder.mkdir()
            (folder / "cache").symlink_to(cache)
            ours = time_ours(folder, options.data_root, options.models, options.epochs)
            dataset = folder / "sweeps" / "mnist_seed" / "dataset.pt"
            plain = time_plain(folder, dataset, options.models, options.epochs)
            print(
                f"{options.models} models, {options.epochs} epochs of MNIST on {cpu_count()} cores: "
                f"train.py {ours:.1f} s, plain loop {plain:.1f} s, {plain / ours:.1f} times as long"
            )


if __name__ == "__main__":
    main()

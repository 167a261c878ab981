"""Whole commands, end to end, start-up included: `train.py` beside the plain PyTorch loop, on all cores.

    python benchmarks/sweep.py [--models 64] [--epochs 1] [--data-root FOLDER_OF_MNIST] [--rounds 1] [--without-plain]

Trains models of the MNIST Seed zoo, on all of MNIST where its folder is given and else on the embedded 5,000 digits;
evaluates them and writes checkpoints and records at every epoch. One model is trained by `python train.py` without -m.
The plain loop runs in one process per core, which share the models evenly. All one after the other, so that a noisy
machine is noisy for all; `--models 96,100` compares sweeps.

The share of the core seconds that went into training steps is what the steps take when all cores do nothing else:
measured in the same run, by the engine alone, in a process per core at the same time.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import cpu_count

from zoo.engines import lanes
from zoo.models.cnn import CNNSmall

ROOT = Path(__file__).parent.parent
BATCH = 10


@dataclass(frozen=True)
class Work:
    """What is trained, and where its files go."""

    folder: Path
    data: list[str]  # overrides
    epochs: int

    def command(self, name: str, seeds: str, *flags: str) -> list[Any]:
        command = [sys.executable, ROOT / "train.py", *flags, f"sweeps={self.folder / name}", seeds]
        return [*command, f"trainer.max_epochs={self.epochs}", f"data.cache={self.folder / 'cache'}", *self.data]

    def time_ours(self, name: str, models: int) -> float:
        """Seconds that the command takes."""
        if models == 1:
            return timed(self.command(name, "seed=1", "init=uniform", "optim.lr=3e-4"))
        return timed(self.command(name, f"seed=range(1,{models + 1})", "-m", "+zoo=mnist_seed"))

    def time_plain(self, name: str, models: int, dataset: Path) -> float:
        """Seconds until all processes of the plain loop are done."""
        processes = min(models, cpu_count())
        bounds = [1 + models * number // processes for number in range(processes + 1)]
        command = [sys.executable, "-m", "benchmarks.plain", "--dataset", dataset, "--epochs", str(self.epochs)]
        return timed(
            *[
                [*command, "--seeds", str(first), str(following - 1), "--out", self.folder / name]
                for first, following in zip(bounds, bounds[1:], strict=False)
            ]
        )


def timed(*commands: list[Any]) -> float:
    """Seconds until all commands, begun at once, are done."""
    began = time.perf_counter()
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for command in commands]
    assert not any(process.wait() for process in processes)
    return time.perf_counter() - began


def steps_per_second(dataset: Path, seconds: float = 5.0) -> float:
    """Model-steps of one core that only trains full packs."""
    split = torch.load(dataset, weights_only=True, mmap=True)["trainset"]
    models = 16
    engine = lanes.Engine(list(CNNSmall(1).module_list), split["images"].shape[1:], models, lr=3e-4)
    engine.parameters = np.random.default_rng(0).normal(0, 0.1, (models, engine.parameter_count))
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        orders = torch.stack([torch.randperm(len(split["images"]))[: 50 * BATCH] for _ in range(models)])
        engine.train_epoch(split["images"], split["labels"], orders, BATCH)
        steps += 50 * models
    return steps / (time.perf_counter() - began)


def rate_of_all_cores(dataset: Path) -> float:
    code = f"from pathlib import Path; from benchmarks.sweep import *; print(steps_per_second(Path({str(dataset)!r})))"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) for _ in range(cpu_count())
    ]
    return sum(float(process.communicate()[0]) for process in processes)


def main() -> None:
    parser = argparse.ArgumentParser(description="Whole commands beside the plain PyTorch loop.")
    parser.add_argument("--models", default="64")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--data-root", type=Path, help="the folder that holds MNIST/raw")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--without-plain", action="store_true")
    options = parser.parse_args()
    data = ["data=mnist_5k"]
    if options.data_root:
        data = ["data=mnist", f"data.root={options.data_root.absolute()}", "data.download=false"]
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), data, options.epochs)
        Work(Path(folder), data, 1).time_ours("first", 2)  # prepares the images, which all others use
        [dataset] = Path(folder).glob("first/*/dataset.pt")
        images = len(torch.load(dataset, weights_only=True, mmap=True)["trainset"]["labels"])
        for number in range(options.rounds):
            for models in map(int, options.models.split(",")):
                ours = work.time_ours(f"{models}-{number}", models)
                steps = models * options.epochs * -(-images // BATCH)
                used = min(models, cpu_count())
                share = steps / rate_of_all_cores(dataset) * cpu_count() / (ours * used)
                line = f"{models} models, {options.epochs} epochs of {images} images: train.py {ours:.1f} s, "
                line += f"{share:.0%} of {used} cores' seconds in training steps"
                if not options.without_plain:
                    plain = work.time_plain(f"plain-{models}-{number}", models, dataset)
                    line += f"; plain loop {plain:.1f} s, {plain / ours:.1f} times as long"
                print(line, flush=True)


if __name__ == "__main__":
    main()

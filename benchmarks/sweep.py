"""Whole commands, end to end, start-up included: `train.py` beside the plain PyTorch loop, on all cores.

    python benchmarks/sweep.py [--models 64] [--epochs 1] [--data-root FOLDER_OF_MNIST] [--rounds 1] [--without-plain]
                               [--plain-models M] [--plain-epochs E]

Trains models of the MNIST Seed zoo, on all of MNIST where its folder is given and else on the embedded 5,000 digits;
evaluates them and writes checkpoints and records at every epoch. One model is trained by `python train.py` without -m.
The plain loop runs in one process per core, which share the models evenly. All one after the other, so that a noisy
machine is noisy for all; `--models 96,100` compares sweeps. Where the plain loop trains fewer models, or for fewer
epochs, its time is scaled to as many model-epochs, and the output says so: give each process a model, or more.

The share of the core seconds that went into training steps is what the runs' own records say (`time_steps_s`), of the
whole command's time.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count

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

    def step_seconds(self, name: str) -> float:
        """What the training steps of all models took, by their records."""
        records = (line for file in self.folder.glob(f"{name}/*/*/result.json") for line in file.open())
        return sum(json.loads(record)["time_steps_s"] for record in records)

    def time_plain(self, name: str, models: int, dataset: Path) -> float:
        """Seconds until all processes of the plain loop are done."""
        processes = min(models, cpu_count())
        bounds = [1 + models * number // processes for number in range(processes + 1)]
        return self.time_plain_seeds(name, list(zip(bounds, bounds[1:], strict=False)), dataset)

    def time_plain_seeds(self, name: str, ranges: list[tuple[int, int]], dataset: Path) -> float:
        """`ranges`: each process's first seed, and that after its last."""
        command = [sys.executable, "-m", "benchmarks.plain", "--dataset", dataset, "--epochs", str(self.epochs)]
        command += ["--out", self.folder / name]
        return timed(*[[*command, "--seeds", str(first), str(following - 1)] for first, following in ranges])

    def scaled_plain(self, name: str, models: int, dataset: Path, factor: float) -> float:
        """`time_plain`, were there so many times the model-epochs: all but the start-up takes so many times as long."""
        start = self.time_plain_seeds(name, [(1, 1)] * min(models, cpu_count()), dataset) if factor > 1 else 0.0
        return start + factor * (self.time_plain(name, models, dataset) - start)


def timed(*commands: list[Any]) -> float:
    """Seconds until all commands, begun at once, are done."""
    began = time.perf_counter()
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for command in commands]
    assert not any(process.wait() for process in processes)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Whole commands beside the plain PyTorch loop.")
    parser.add_argument("--models", default="64")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--data-root", type=Path, help="the folder that holds MNIST/raw")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--without-plain", action="store_true")
    parser.add_argument("--plain-models", type=int, help="as many as there are, if not given")
    parser.add_argument("--plain-epochs", type=int, help="as many as there are, if not given")
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
                name, used = f"{models}-{number}", min(models, cpu_count())
                ours = work.time_ours(name, models)
                share = work.step_seconds(name) / (ours * used)
                line = f"{models} models, {options.epochs} epochs of {images} images: train.py {ours:.1f} s, "
                line += f"{share:.0%} of {used} cores' seconds in training steps"
                if not options.without_plain:
                    fewer = min(models, options.plain_models or models)
                    shorter = Work(work.folder, data, min(options.epochs, options.plain_epochs or options.epochs))
                    factor = models * options.epochs / (fewer * shorter.epochs)
                    plain = shorter.scaled_plain(f"plain-{name}", fewer, dataset, factor)
                    line += f"; plain loop {plain:.1f} s, {plain / ours:.1f} times as long"
                    if factor > 1:
                        line += f" (scaled from {fewer} models, {shorter.epochs} epochs)"
                print(line, flush=True)


if __name__ == "__main__":
    main()

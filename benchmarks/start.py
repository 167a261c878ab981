"""How long a command takes to begin: until its help is printed, and until its first model's first training step.

    python -m benchmarks.start [--rounds 3] [--data-root FOLDER_OF_MNIST] [--nodes 0]

One model by `python train.py`, and two by `python train.py -m`, on the embedded images or on all of MNIST where its
folder is given: cold, when the images are to be prepared, and warm, when the command before has done that. The first
step is made when the state of epoch 0 was handed to the thread that writes it, so when its folder appears; then the
command is ended. Beside the seconds stand those of the processor that all its processes took until then: other load
changes these less. With --nodes, also a sweep of so many, and the memory of its launcher.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import family, memory, processor_seconds

ROOT = Path(__file__).parent.parent
TRAIN: list[str | Path] = [sys.executable, ROOT / "train.py"]
SINGLE = ["seed=1"]
LOOK_EVERY = 0.01  # seconds


@dataclass(frozen=True)
class Start:
    """Seconds until the first step, of the clock and of all processors."""

    seconds: float
    processor: float


def begun(command: list[Any], folder: Path) -> tuple[subprocess.Popen, Start]:
    """The command, once it trains in the folder."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not any(folder.glob("*/*/checkpoint_000000")):
        assert process.poll() is None, f"{command} ended before its first step"
        time.sleep(LOOK_EVERY)
    seconds = time.perf_counter() - began
    return process, Start(seconds, sum(map(processor_seconds, family(process.pid))))


def end(process: subprocess.Popen) -> None:
    os.kill(process.pid, signal.SIGINT)
    process.wait()


def cold_and_warm(overrides: list[str], rounds: int) -> dict[str, list[Start]]:
    """The starts of a command, whose images are prepared anew in each round."""
    found: dict[str, list[Start]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name, starts in found.items():
                places = [f"sweeps={folder}/{name}", f"data.cache={folder}/cache"]
                process, start = begun([*TRAIN, *overrides, *places], Path(folder, name))
                starts.append(start)
                end(process)
    return found


def help_seconds(rounds: int) -> float:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run([*TRAIN, "--help"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        return time.perf_counter() - began

    return statistics.median(once() for _ in range(rounds))


def start_of_many(nodes: int, data: list[str]) -> str:
    """Prepared images, a large sweep."""
    with tempfile.TemporaryDirectory() as folder:
        cache = f"data.cache={folder}/cache"
        end(begun([*TRAIN, *SINGLE, *data, f"sweeps={folder}/first", cache], Path(folder, "first"))[0])
        command = [*TRAIN, "-m", f"seed=range(0,{nodes})", *data, f"sweeps={folder}/many", cache]
        process, start = begun(command, Path(folder, "many"))
        used = [memory(process.pid)]
        time.sleep(10)
        used.append(memory(process.pid))
        end(process)
    return f"{nodes} models, warm: {start.seconds:.1f} s; launcher {used[0]:.0f} MB, 10 s later {used[1]:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description="From a command to its first training step.")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--data-root", type=Path, help="the folder that holds MNIST/raw")
    parser.add_argument("--nodes", type=int, default=0, help="models of a large sweep, which is started, too")
    options = parser.parse_args()
    data = []
    if options.data_root:
        data = ["data=mnist", f"data.root={options.data_root.absolute()}", "data.download=false"]
    print(f"--help: {help_seconds(options.rounds):.2f} s", flush=True)
    for name, overrides in {"one model": SINGLE, "two models": ["-m", "seed=1,2"]}.items():
        for state, starts in cold_and_warm([*overrides, *data], options.rounds).items():
            seconds = statistics.median(start.seconds for start in starts)
            processor = statistics.median(start.processor for start in starts)
            print(f"{name}, {state}: {seconds:.1f} s to the first step, {processor:.1f} s of processors", flush=True)
    if options.nodes:
        print(start_of_many(options.nodes, data))


if __name__ == "__main__":
    main()

"""Does a sweep reproduce the published zoo? 16 models of MNIST Seed, 50 epochs, against Table 2 of the paper.

    python benchmarks/fidelity.py --data-root FOLDER_OF_MNIST [--models 16]

Schürholt et al. 2022, Table 2: test accuracy 91.1 (0.9) % over the 1000 models. Training goes on where it was
interrupted.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from zoo.format.node_table import node_names
from zoo.format.record import read_records

ROOT = Path(__file__).parent.parent
PAPER = {"mean": 91.1, "std": 0.9}


def main() -> None:
    parser = argparse.ArgumentParser(description="The MNIST Seed zoo beside the paper's Table 2.")
    parser.add_argument("--data-root", type=Path, required=True, help="the folder that holds MNIST/raw")
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--sweeps", type=Path, default=Path("sweeps"))
    options = parser.parse_args()
    command = [sys.executable, ROOT / "train.py", "-m", "+zoo=mnist_seed", f"seed=range(1,{options.models + 1})"]
    command += [
        f"data.root={options.data_root}",
        "data.download=false",
        "zoo.name=fidelity",
        f"sweeps={options.sweeps}",
    ]
    subprocess.run(command, check=True)
    runs = [options.sweeps / "fidelity" / name for name in node_names(options.sweeps / "fidelity")]
    accuracies = [[100 * record["test_acc"] for record in read_records(run)] for run in runs]
    print(f"test accuracy of {len(runs)} models in %, mean (std):")
    for epoch in (1, 10, 18, 24, 47, 50):
        at = [model[epoch] for model in accuracies]
        mean = sum(at) / len(at)
        std = (sum((accuracy - mean) ** 2 for accuracy in at) / len(at)) ** 0.5
        print(f"  epoch {epoch:2}: {mean:5.1f} ({std:.1f})")
    print(f"  the paper, epoch 50, 1000 models: {PAPER['mean']} ({PAPER['std']})")


if __name__ == "__main__":
    main()

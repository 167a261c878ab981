"""Making a zoo of a sweep, beside another version of this project: seconds, and the memory of all its processes.

    python -m benchmarks.collation [--models 100,1000] [--epochs 50] [--beside FOLDER] [--rounds 1]

Trains four CNN-s models on the embedded images, whose runs are then copied to as many as wanted: memory should grow
with these by what tables of them need. Each version collates them, analyses, writes the checksums and zips the zoo,
`--beside` first: a checkout (such as one by `git worktree add`). Both read and write where the system has its temporary
files.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.processes import family, memory

ROOT = Path(__file__).parent.parent

STEPS = """
import sys, time
from pathlib import Path

from zoo.analysis.analyze import summarise_zoo
from zoo.collation.collate import collate
from zoo.disk.folders import zip_folder
from zoo.format import manifest
from zoo.publication.readme import document

sweep, zoo = map(Path, sys.argv[1:])
zoo.mkdir()
times = [time.perf_counter()]
missing = collate(sweep, zoo)
times.append(time.perf_counter())
document(zoo, summarise_zoo(zoo, zoo.name, missing))
times.append(time.perf_counter())
manifest.write(zoo)
times.append(time.perf_counter())
zip_folder(zoo, zoo.with_suffix(".zip"))
times.append(time.perf_counter())
assert not missing
print(*(after - before for before, after in zip(times, times[1:])))
"""


def train(folder: Path, epochs: int) -> Path:
    """A sweep of four models."""
    command: list[str | Path] = [
        sys.executable,
        ROOT / "train.py",
        "-m",
        "seed=range(0,4)",
        f"trainer.max_epochs={epochs}",
    ]
    subprocess.run([*command, f"sweeps={folder}", f"data.cache={folder}/cache"], check=True, stderr=subprocess.DEVNULL)
    return next(folder.glob("*/config.json")).parent


def copies(sweep: Path, target: Path, models: int) -> None:
    """A sweep of so many runs, which are those of `sweep` over and over."""
    target.mkdir()
    runs = sorted(path.parent for path in sweep.glob("*/params.json"))
    for file in sweep.iterdir():
        if file.is_file():
            shutil.copy(file, target)
    names = [f"model_{number:010x}" for number in range(models)]
    for number, name in enumerate(names):
        shutil.copytree(runs[number % len(runs)], target / name)
        params = target / name / "params.json"
        params.write_text(json.dumps(json.loads(params.read_text()) | {"node": name, "seed": number}))
    (target / "nodes.csv").write_text("\n".join(["node", *names]) + "\n")


def make_zoo(version: Path, sweep: Path, zoo: Path) -> dict[str, float]:
    """Seconds of each step and of all processors, and the peak memory of all processes."""
    began, peak = resource.getrusage(resource.RUSAGE_CHILDREN), [0.0]
    process = subprocess.Popen(
        [sys.executable, "-c", STEPS, sweep, zoo],
        cwd=version,
        env={**os.environ, "PYTHONPATH": str(version)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def watch() -> None:
        while process.poll() is None:
            peak[0] = max(peak[0], sum(map(memory, family(process.pid))))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = process.communicate()
    watcher.join()
    assert process.returncode == 0
    collating, analysing, summing, zipping = map(float, output.split())
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    return {
        "collate": collating,
        "analyse": analysing,
        "checksums": summing,
        "zip": zipping,
        "processor": used,
        "memory": peak[0],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Making a zoo of a sweep.")
    parser.add_argument("--models", default="100,1000")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--beside", type=Path, help="a checkout of another version")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    versions = [version.absolute() for version in (options.beside, ROOT) if version]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained = train(folder / "first", options.epochs)
        for models in map(int, options.models.split(",")):
            copies(trained, folder / "sweep", models)
            for _ in range(options.rounds):
                for version in versions:
                    print(f"{version}: {measured(version, folder, models, options.epochs + 1)}", flush=True)
            shutil.rmtree(folder / "sweep")


def measured(version: Path, folder: Path, models: int, epochs: int) -> str:
    """What a version takes for the sweep in the folder."""
    found = make_zoo(version, folder / "sweep", folder / "zoo")
    shutil.rmtree(folder / "zoo")
    (folder / "zoo.zip").unlink()
    states = models * epochs
    steps = ("collate", "analyse", "checksums", "zip")
    return (
        f"{models} models, {states} states: {sum(found[step] for step in steps):.1f} s, collated in "
        f"{found['collate']:.1f} s ({states / found['collate']:.0f} states/s), analysed in {found['analyse']:.1f} s, "
        f"checksums in {found['checksums']:.1f} s, zipped in {found['zip']:.1f} s; "
        f"{found['processor']:.1f} s of processors in all; {found['memory']:.0f} MB at most"
    )


if __name__ == "__main__":
    main()

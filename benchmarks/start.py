"""How long until a large sweep trains: from the command to the first model's first record, and the launcher's memory.

    python benchmarks/start.py [--nodes 10000]

Trains on the embedded images and is stopped as soon as the first models have their epoch 0.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def memory(process: int) -> float:
    """Resident memory of a process in MB, without what it shares with others through files."""
    fields = (line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return next(int(field[1]) / 1024 for field in fields if field[0] == "RssAnon:")


def main() -> None:
    parser = argparse.ArgumentParser(description="From the command to the first trained model.")
    parser.add_argument("--nodes", type=int, default=10_000)
    nodes = parser.parse_args().nodes
    with tempfile.TemporaryDirectory() as folder:
        cache = [f"data.cache={folder}/cache"]
        subprocess.run([sys.executable, ROOT / "train.py", f"sweeps={folder}/first", "trainer.max_epochs=1", *cache])
        command = [sys.executable, ROOT / "train.py", "-m", f"seed=range(0,{nodes})", f"sweeps={folder}/sweeps", *cache]
        began = time.perf_counter()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not any(Path(folder).glob("sweeps/*/*/result.json")):
            assert process.poll() is None
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        used = [memory(process.pid)]
        time.sleep(10)
        used.append(memory(process.pid))
        os.kill(process.pid, signal.SIGINT)
        process.wait()
    print(f"{nodes} nodes: {seconds:.1f} s to the first record; launcher {used[0]:.0f} MB, 10 s later {used[1]:.0f} MB")


if __name__ == "__main__":
    main()

"""Which sweep is meant where none is named."""

from pathlib import Path

from zoo.disk import paths
from zoo.errors import ZooError
from zoo.installation import command


def latest_sweep(sweeps: Path) -> Path:
    """The sweep in the folder `sweeps` that was started or continued last."""
    configs = [paths.config(folder) for folder in sweeps.glob("*") if paths.config(folder).exists()]
    if not configs:
        raise ZooError(f"{sweeps} holds no sweep: train one by `{command('train')} -m ...`, or give a sweep's folder")
    return max(configs, key=lambda path: path.stat().st_mtime_ns).parent

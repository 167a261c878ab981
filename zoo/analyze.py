"""`python analyze.py`, `python -m zoo analyze`: a zoo of a sweep, sweeps/<name> -> zoos/<name> and zoos/<name>.zip."""

from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig

import zoo.node.resolvers  # noqa: F401  of the texts of --help
from zoo.errors import ZooError
from zoo.installation import CONF
from zoo.node.clear_errors import clear_errors, clear_job_errors
from zoo.node.help import quick_lists


def make_zoo(sweep: Path, zoo: Path, files_of_runs: str = "folders") -> dict[str, Any]:
    """Make the zoo of a sweep and its zip file, or make them anew; return the zoo's summary. The sweep stays as it is.

    The zoo appears when it is complete; until then an older one stays. Raises ZooError if there is nothing to
    collate, if the models don't make one zoo, or if `zoo` is there and is anything but an older state of this zoo.
    """
    from zoo.collation.collate import collate, require_replaceable  # PyTorch is imported where it is needed: --help
    from zoo.disk.files import storage_errors  # takes no second
    from zoo.publication import make

    with storage_errors():
        require_replaceable(zoo, sweep)
        return make.make_zoo(zoo, lambda new: collate(sweep, new, files_of_runs))


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="analyze")
def job(config: DictConfig) -> None:
    from zoo.format.compact import FILES
    from zoo.format.escape import one_line
    from zoo.format.latest import latest_sweep
    from zoo.publication.readme import report

    with clear_job_errors():
        if config.files not in FILES:
            raise ZooError(f"files={one_line(config.files)}: choose from {', '.join(FILES)}")
        sweep = Path(config.sweep) if config.sweep else latest_sweep(Path(config.sweeps))
        zoo = Path(config.zoo_dir) if config.zoo_dir else Path(config.zoos) / sweep.name
        print(f"{one_line(sweep)} -> {one_line(zoo)}")
        print(report(zoo, make_zoo(sweep, zoo, config.files)))


def main() -> None:
    with clear_errors(example="sweep=sweeps/NAME"), quick_lists():
        job()


if __name__ == "__main__":
    main()

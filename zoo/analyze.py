"""`python analyze.py`, `python -m zoo analyze`: a zoo of a sweep, sweeps/<name> -> zoos/<name> and zoos/<name>.zip."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

import zoo.node.resolvers  # noqa: F401  of the texts of --help
from zoo.errors import ZooError, one_line
from zoo.installation import CONF
from zoo.node.clear_errors import clear_errors, clear_job_errors
from zoo.node.help import quick_lists

if TYPE_CHECKING:
    from zoo.analysis.analysis import Analysis


def make_zoo(
    sweep: Path, zoo: Path, files_of_runs: str = "folders", analyses: "Sequence[Analysis]" = ()
) -> dict[str, Any]:
    """Make the zoo of a sweep and its zip file, or make them anew; return the zoo's summary. The sweep stays as it is.

    The zoo appears when it is complete; until then an older one stays. Raises ZooError if there is nothing to
    collate, if the models don't make one zoo, or if `zoo` is there and is anything but an older state of this zoo.
    """
    from zoo.collation.collate import collate, require_replaceable  # PyTorch is imported where it is needed: --help
    from zoo.disk.files import storage_errors  # takes no second
    from zoo.publication import make

    with storage_errors():
        require_replaceable(zoo, sweep)
        return make.make_zoo(zoo, lambda new: collate(sweep, new, files_of_runs), analyses)


def analyze_zoo(zoo: Path, analyses: "Sequence[Analysis]") -> dict[str, Any]:
    """Make analyses of a zoo that is there, and its documents and zip file anew; return its summary."""
    from zoo.disk.files import storage_errors
    from zoo.disk.paths import models, summary
    from zoo.publication import make

    if not (models(zoo).exists() and summary(zoo).exists()):
        raise ZooError(
            f"{zoo} is no zoo in a folder: give one as zoo_dir that analyze.py or `python -m zoo convert` made"
        )
    with storage_errors():
        return make.analyze_again(zoo, analyses)


def chosen_analyses(config: DictConfig) -> "list[Analysis]":
    """Those that the config names, checked."""
    from hydra.utils import get_method

    from zoo.analysis.analysis import Analysis

    found = []
    chosen: dict[str, Any] = OmegaConf.to_container(config, resolve=True) if config else {}  # type: ignore[assignment]
    for name, options in chosen.items():
        if not isinstance(options, dict) or "_target_" not in options:
            raise ZooError(f"analysis.{name} is no analysis: choose it by analysis=[{name}], from conf/analysis")
        target = options.pop("_target_")
        try:
            function = get_method(target)
        except Exception as error:  # whatever the import of a user's module raises
            raise ZooError(f"analysis.{name}: can't import {target} ({one_line(error)})") from error
        found.append(Analysis(name, function, options))
        found[-1].require_sound()
    return found


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="analyze")
def job(config: DictConfig) -> None:
    from zoo.format.compact import FILES
    from zoo.format.escape import one_line as escaped
    from zoo.format.latest import latest_sweep
    from zoo.publication.readme import report

    with clear_job_errors():
        if config.files not in FILES:
            raise ZooError(f"files={escaped(config.files)}: choose from {', '.join(FILES)}")
        analyses = chosen_analyses(config.analysis)
        sweep = Path(config.sweep) if config.sweep else None
        if not sweep and (config.collate or not config.zoo_dir):
            sweep = latest_sweep(Path(config.sweeps))
        zoo = Path(config.zoo_dir) if config.zoo_dir or not sweep else Path(config.zoos) / sweep.name
        if config.collate and sweep:
            print(f"{escaped(sweep)} -> {escaped(zoo)}")
            summary = make_zoo(sweep, zoo, config.files, analyses)
        else:
            summary = analyze_zoo(zoo, analyses)
        print(report(zoo, summary))
        if summary["failed"]:
            sys.exit(1)


def main() -> None:
    with clear_errors(example="sweep=sweeps/NAME"), quick_lists():
        job()


if __name__ == "__main__":
    main()

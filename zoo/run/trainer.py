"""Lightning's Trainer of a pack: the user's loggers and callbacks beside what records every epoch."""

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object, instantiate

from zoo.disk import paths
from zoo.errors import ZooError, one_line
from zoo.node.callbacks import as_list, require_possible
from zoo.run import compiler
from zoo.run.lightning import LightningEnvironment, Logger, Profiler, pl
from zoo.run.trainer_options import MATERIAL

DEBUG_MODES = {True: "error", "warn": "warn", False: "default"}  # of PyTorch, by the values of `deterministic`


def make_trainer(options: Mapping[str, Any], recorder: pl.Callback, folder: Path, epoch: int) -> pl.Trainer:
    """`options`: the config's group `trainer`. `folder`: where loggers write. `epoch`: how many were trained before.

    The recorder is the first of the callbacks, so that the others see what it logs.
    """
    trainer: pl.Trainer = instantiate(
        {
            # a "batch" of the Trainer's is an epoch, see zoo.run.pack.Pack
            **{"log_every_n_steps": 1, "default_root_dir": str(folder)},
            **{key: value for key, value in made_deterministic(options).items() if key not in MATERIAL},
            "logger": loggers(options, folder),
            "callbacks": [recorder, *callbacks(options)],
            "profiler": profiler(options),
            # in a job of a batch system, each of its processes trains models of its own: none is a rank of one training
            "plugins": [LightningEnvironment()],
        },
        _convert_="all",
    )
    used: Profiler = trainer.profiler  # type: ignore[attr-defined]  # the Trainer doesn't declare it
    if options.get("profiler") and used.dirpath is None:
        used.dirpath, used.filename = paths.profile(folder).parent, paths.profile(folder).name
    for counter in ("ready", "started", "processed", "completed"):
        setattr(trainer.fit_loop.epoch_progress.current, counter, epoch)
    return trainer


def made_deterministic(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with what `deterministic` stands for already done, unless the compiler is to be told of it as well.

    Lightning calls `torch.use_deterministic_algorithms`, which imports the compiler to tell it.
    """
    wanted = options.get("deterministic")
    if compiler.is_there() or wanted not in DEBUG_MODES:
        return dict(options)
    torch.set_deterministic_debug_mode(DEBUG_MODES[wanted])
    if wanted:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what cuBLAS needs, see NVIDIA's documentation
    benchmark = options.get("benchmark")
    return {
        **{key: value for key, value in options.items() if key != "deterministic"},
        "benchmark": False if benchmark is None and wanted else benchmark,
    }


def loggers(options: Mapping[str, Any], folder: Path) -> bool | list[Logger]:
    """What `trainer.logger` stands for, writing to the folder where it doesn't say otherwise."""
    given = options.get("logger") or False
    if given is True:
        return True
    return [made(one, "logger", Logger, folder) for one in as_list(given)] or False


def callbacks(options: Mapping[str, Any]) -> list[pl.Callback]:
    """What `trainer.callbacks` stands for. Raises ZooError for those that a zoo can't have."""
    given = as_list(options.get("callbacks"))
    found = [made(one, "callbacks", pl.Callback) for one in given]
    for callback, config in zip(found, given, strict=True):
        require_possible(callback, config, has_logger=bool(options.get("logger")))
    return found


def profiler(options: Mapping[str, Any]) -> Profiler | str | None:
    """What `trainer.profiler` stands for."""
    given = options.get("profiler")
    return made(given, "profiler", Profiler) if isinstance(given, Mapping) else given


def made(config: Any, key: str, kind: type, folder: Path | None = None) -> Any:
    """The object of a config, writing to `folder` if it writes. Raises ZooError if it isn't one of that kind."""
    found = None
    if isinstance(config, Mapping) and "_target_" in config:
        try:
            found = instantiate(writing_to(folder, config) if folder else config, _convert_="all")
        except Exception as error:  # whatever the class raises
            raise ZooError(f"trainer.{key}: {config}: {one_line(error.__cause__ or error)}") from error
    if not isinstance(found, kind):
        raise ZooError(f"trainer.{key}: {config}: must be the _target_ of a {kind.__name__} of PyTorch Lightning's")
    return found


def writing_to(folder: Path, logger: Mapping[str, Any]) -> Mapping[str, Any]:
    """A logger's config with the folder that it writes to, if it takes one and has none."""
    takes = inspect.signature(get_object(logger["_target_"])).parameters
    return {"save_dir": str(folder), **logger} if "save_dir" in takes else logger

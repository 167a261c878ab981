"""The boundary to Hydra: what was typed wrongly ends the command with a line; all other errors keep their traceback."""

import difflib
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.errors import ZooError

FULL_ERROR = "HYDRA_FULL_ERROR"  # set to 1, it makes Hydra pass errors on instead of printing them
ADDED_TWICE = r"Could not append to config\. An item is already at '(.+)'"
GROUP_OF_PARENT = r"Error resolving interpolation '\$\{parent:([\w.]+)\}'"  # optim=${parent:optim}
IS_FULL = os.environ.get(FULL_ERROR) == "1"  # the user wants to see every traceback


@contextmanager
def clear_errors(example: str) -> Iterator[None]:
    """Around a command. `example`: a value as this command takes it, for those who typed something else.

    A request to terminate (SIGTERM, as of a batch system) ends it as Ctrl-C does: what it has begun is put away.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not IS_FULL:
        os.environ[FULL_ERROR] = "1"
    try:
        yield
    except KeyboardInterrupt:
        print("Stopped. The same command again goes on from there.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        exit_if_clear(error, example)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        if not IS_FULL:
            del os.environ[FULL_ERROR]


@contextmanager
def clear_job_errors() -> Iterator[None]:
    """Around the job of a single run, of which Hydra would print the overrides before its error."""
    try:
        yield
    except Exception as error:
        if HydraConfig.get().mode == RunMode.RUN:
            exit_if_clear(error)
        raise


def require_no_chdir(hydra: Any) -> None:
    if hydra.job.chdir:
        raise ZooError("hydra.job.chdir=true: folders are found from where the command is given. Leave it out")


def exit_if_clear(error: Exception, example: str = "") -> None:
    if not IS_FULL and (text := message(error, example)):
        raise SystemExit(text) from error


def message(error: BaseException, example: str = "") -> str | None:
    """What to tell the user who caused the error; None if it was none."""
    if isinstance(error, ZooError):
        return str(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: {str(error).splitlines()[-2]}. Values are typed as key=value, such as {example}"
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        return unknown_key(error.__cause__) or f"{error}: {one_line(error.__cause__)}"
    if isinstance(error, ConfigCompositionException) and (added := re.search(ADDED_TWICE, str(error))):
        return f"+{added[1]}: the config has {added[1]} already. Leave out the plus"
    if isinstance(error, ConfigCompositionException) and (group := re.search(GROUP_OF_PARENT, str(error))):
        return (
            f"${{parent:{group[1]}}}: which file of a group is taken is known before the zoo is opened. Type its name, "
            f"as in {group[1]}=NAME; values in it can be the parent's, such as optim.lr=${{parent:optim.lr}}"
        )
    if isinstance(error, HydraException):
        return str(error)
    if isinstance(error, OmegaConfBaseException):
        return message(error.__cause__) if isinstance(error.__cause__, ZooError) else one_line(error)
    if isinstance(error, ValueError) and raised_by_hydra(error):  # for flags that exclude each other
        return str(error)
    return None


def unknown_key(error: OmegaConfBaseException) -> str | None:
    """Which keys there are instead of one that isn't, the nearest first."""
    parent = error.parent_node
    if not isinstance(parent, DictConfig) or error.key in parent:
        return None
    above = str(error.full_key).rpartition(".")[0]
    keys = [str(key) for key in parent if not str(key).startswith("_") and key not in ("name", "hydra")]
    nearest = difflib.get_close_matches(str(error.key), keys, n=len(keys) or 1, cutoff=0)
    name = OmegaConf.select(parent, "name") if above else None
    place = (f"{above}={name}" if name else above) or "the config"
    text = f"Could not override '{error.full_key}': {place} has no {error.key}. It has {', '.join(nearest)}"
    if others := choices_with(str(error.full_key)):
        text += f". {error.full_key} is there with {' or '.join(others)}"
    return text


def choices_with(key: str) -> list[str]:
    """Which choices of the project's have a key, such as optim=sgd the key `optim.momentum`."""
    from zoo.installation import CONF

    group, _, inner = key.partition(".")
    missing = object()
    files = sorted((CONF / group).glob("*.yaml")) if inner else []
    having = [path for path in files if OmegaConf.select(OmegaConf.load(path), inner, default=missing) is not missing]
    return [f"{group}={path.stem}" for path in having]


def one_line(error: OmegaConfBaseException) -> str:
    text = str(error).splitlines()[0]
    return f"{error.full_key}: {text}" if error.full_key else text


def raised_by_hydra(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("hydra.")

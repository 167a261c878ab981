"""Reading a run's files back, in a sweep or a zoo: its records, its states."""

import json
import re
import sys
import time
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zoo.disk import files, paths
from zoo.errors import ZooError, one_line

if TYPE_CHECKING:
    from torch import Tensor

Record = dict[str, Any]  # a line of result.json

LOSSES = ("train_loss", "val_loss", "test_loss")
ACCURACIES = ("train_acc", "val_acc", "test_acc")
SECONDS = ("time_this_iter_s", "time_total_s")
STEP_SECONDS = "time_steps_s"  # of the first, what the epoch's training steps took; not in every record
# The digests of an epoch's files; records of version 0.1.0 have none.
STATE_DIGEST, OPTIMIZER_DIGEST = "state_sha256", "optimizer_sha256"

# Whether the state of an epoch is there, in zoos of models that were trained elsewhere: its metrics can be without it.
KEPT = "kept"

LOOKS, MOMENT = 4, 0.005  # how often, and after how many seconds, half a line is looked at
AGAIN = "give the training command again, which trains what is missing"


class Missing(ZooError):
    """A run's file is not there."""


def read_records(run: Path) -> list[Record]:
    """The run's records, one per complete epoch from 0; empty if it has not begun.

    Raises ZooError, which names the line, if one is not as docs/zoo_format.md says.
    """
    records, damage = read_whole_records(run)
    if damage:
        raise ZooError(damage)
    return records


def read_whole_records(run: Path) -> tuple[list[Record], str | None]:
    """The run's records up to the first damaged one, and what is wrong with that; None if there is none."""
    path = paths.result(run)
    try:
        files.require_within(path, run)
        lines = read_lines(path)
    except FileNotFoundError:
        return [], None
    except ZooError as error:
        return [], str(error)
    return whole_records_in(path, lines)


def records_in(path: Path, lines: list[bytes]) -> list[Record]:
    """The records in the lines of a result.json. Raises ZooError, which names `path` and the line, if one is none."""
    records, damage = whole_records_in(path, lines)
    if damage:
        raise ZooError(damage)
    return records


def whole_records_in(path: Path, lines: list[bytes]) -> tuple[list[Record], str | None]:
    """The records up to the first damaged one, and what is wrong with that; None if there is none."""
    records: list[Record] = []
    for epoch, line in enumerate(lines):
        try:
            records.append(parsed(line, epoch))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            return records, f"{path}, line {epoch + 1} is damaged: no record of epoch {epoch} ({error!r})"
    return records, None


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file to which a process may be adding one this moment: half a line is looked at again."""
    for _ in range(LOOKS):
        content = path.read_bytes()
        if content.endswith(b"\n") or not content:
            break
        time.sleep(MOMENT)
    return content.splitlines()


def parsed(line: bytes, epoch: int) -> Record:
    """The record of an epoch. Raises ValueError, KeyError or TypeError if the line isn't that."""
    record = json.loads(line, parse_constant=refuse)
    if type(record["training_iteration"]) is not int or record["training_iteration"] != epoch:
        raise ValueError(f"training_iteration is {record['training_iteration']!r}")
    if type(record["diverged"]) is not bool:
        raise ValueError(f"diverged is {record['diverged']!r}")
    for key in (*LOSSES, *ACCURACIES, *SECONDS, *({STEP_SECONDS} & record.keys())):
        if not is_metric(key, record[key]):
            raise ValueError(f"{key} is {record[key]!r}")
    for key in {STATE_DIGEST, OPTIMIZER_DIGEST} & record.keys():
        if not re.fullmatch("[0-9a-f]{64}", str(record[key])):
            raise ValueError(f"{key} is {record[key]!r}")
    return record


def refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def is_metric(key: str, value: Any) -> bool:
    if value is None:
        return key not in (*SECONDS, STEP_SECONDS)
    if type(value) not in (int, float):
        return False
    return 0 <= value <= 1 if key in ACCURACIES else abs(value) <= sys.float_info.max


def read_state(run: Path, epoch: int, record: Mapping[str, Any] | None = None) -> "dict[str, Tensor]":
    """The state_dict after `epoch` epochs. Raises ZooError if it isn't one, or not that of the epoch's `record`."""
    path = paths.checkpoint(run, epoch)
    return state_in(path, content(path, (record or {}).get(STATE_DIGEST)))


def state_in(path: Path, found: bytes) -> "dict[str, Tensor]":
    """The state_dict in the content of a checkpoint. Raises ZooError, which names `path`, if there is none."""
    from torch import Tensor

    state = unpickled(path, found)
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
        raise ZooError(f"{path} is damaged: no state_dict of tensors")
    return state


def read_training_state(run: Path, epoch: int, record: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What resumption from an epoch needs beside the state: see `zoo.run.pack.Pack.training_states`."""
    return load(paths.optimizer(run, epoch), (record or {}).get(OPTIMIZER_DIGEST))


def check_state(run: Path, record: Mapping[str, Any]) -> None:
    """Raise ZooError if the state that a record belongs to is missing or damaged."""
    check(paths.checkpoint(run, record["training_iteration"]), record.get(STATE_DIGEST))


def check_optimizer(run: Path, record: Mapping[str, Any]) -> None:
    """Raise ZooError if the optimizer state that a record belongs to is missing or damaged."""
    check(paths.optimizer(run, record["training_iteration"]), record.get(OPTIMIZER_DIGEST))


def check(path: Path, digest: str | None) -> None:
    if digest:
        content(path, digest)
    else:
        load(path)


def load(path: Path, digest: str | None = None) -> dict[str, Any]:
    """A run's file of tensors and plain values. Raises ZooError if it isn't one, or its sha256 is not `digest`."""
    return unpickled(path, content(path, digest))


def unpickled(path: Path, found: bytes) -> dict[str, Any]:
    import torch  # takes seconds, and most of this module has no use for it

    try:
        value = torch.load(BytesIO(found), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise ZooError(
            f"{path} is damaged: not a PyTorch file of tensors ({one_line(error)}). Delete it, then {AGAIN}"
        ) from error
    if not isinstance(value, dict):
        raise ZooError(f"{path} is damaged: it holds a {type(value).__name__}, no dict")
    return value


def content(path: Path, digest: str | None) -> bytes:
    """Of a run's file. Raises ZooError if links lead out of the run, or for its sha256."""
    files.require_within(path, path.parent.parent)
    return own_content(path, digest)


def own_content(path: Path, digest: str | None) -> bytes:
    """The same of a file of which it is known that it lies where it should."""
    run = path.parent.parent
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        raise Missing(f"{path} is missing: {AGAIN}") from None
    if digest and files.sha256(found) != digest:
        raise ZooError(
            f"{path} is damaged: its sha256 is not the one in {paths.result(run).name}. Delete it, then {AGAIN}"
        )
    return found

"""Reading a run back: what is no record, no state, or not the one that was written is refused."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import flipped
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.record import read_records, read_state, read_training_state, read_whole_records


@pytest.fixture
def run(sweep: Path, tmp_path: Path) -> Path:
    return shutil.copytree(next(sweep.glob("*/")), tmp_path / "run")


def change_line(run: Path, number: int, change: Callable[[dict[str, Any]], object]) -> None:
    lines = paths.result(run).read_text().splitlines()
    record = json.loads(lines[number])
    change(record)
    lines[number] = json.dumps(record)
    paths.result(run).write_text("\n".join(lines) + "\n")


def test_a_record_has_the_digests_of_the_epoch_s_files(sweep: Path) -> None:
    """As sha256sum prints them."""
    for run in sweep.glob("*/"):
        for epoch, record in enumerate(read_records(run)):
            state = paths.checkpoint(run, epoch).read_bytes()
            assert record["state_sha256"] == hashlib.sha256(state).hexdigest()
        assert record["optimizer_sha256"] == hashlib.sha256(paths.optimizer(run, 3).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"test_acc": "0.9"},
        {"test_acc": 1.5},
        {"val_acc": True},
        {"train_loss": [1.0]},
        {"train_loss": float("nan")},
        {"train_loss": float("inf")},
        {"diverged": "no"},
        {"diverged": 0},
        {"training_iteration": "2"},
        {"training_iteration": 2.0},
        {"training_iteration": 3},
        {"time_this_iter_s": None},
        {"time_total_s": "1"},
        {"time_steps_s": "1"},
        {"time_total_s": 10**400},
        {"state_sha256": 5},
        {"state_sha256": "../../etc/passwd"},
    ],
)
def test_a_record_of_wrong_types_is_named_by_its_line(run: Path, change: dict[str, Any]) -> None:
    change_line(run, 2, lambda record: record.update(change))
    [key] = change
    with pytest.raises(ZooError, match=f"{paths.result(run)}, line 3 is damaged.*({key}|not JSON)"):
        read_records(run)
    records, damage = read_whole_records(run)
    assert len(records) == 2 and damage


def test_a_line_that_is_being_written_is_waited_for(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paths.result(run).read_bytes()
    contents = [whole[:-30], whole[:-1], whole]
    monkeypatch.setattr(Path, "read_bytes", lambda path: contents.pop(0))
    assert len(read_records(run)) == 4 and not contents


@pytest.mark.parametrize("line", ["[]", "null", "5", '"text"', "{}", "[" * 100_000])
def test_a_line_that_is_no_record(run: Path, line: str) -> None:
    paths.result(run).write_text(line + "\n")
    with pytest.raises(ZooError, match="line 1 is damaged"):
        read_records(run)


@pytest.mark.parametrize("key", ["training_iteration", "diverged", "test_acc", "val_loss", "time_this_iter_s"])
def test_a_record_that_lacks_a_key(run: Path, key: str) -> None:
    change_line(run, 1, lambda record: record.pop(key))
    with pytest.raises(ZooError, match=f"line 2 is damaged.*{key}"):
        read_records(run)


def test_records_of_version_0_1_0_have_no_digests(run: Path) -> None:
    for number in range(4):
        change_line(run, number, lambda record: (record.pop("state_sha256"), record.pop("optimizer_sha256")))
    assert all(read_state(run, epoch, record) for epoch, record in enumerate(read_records(run)))
    assert read_training_state(run, 3, read_records(run)[3])["optimizer"]


@pytest.mark.parametrize("read", [read_state, read_training_state])
def test_a_flipped_bit_is_seen(run: Path, read: Callable[..., object]) -> None:
    record = read_records(run)[3]
    path = paths.checkpoint(run, 3) if read is read_state else paths.optimizer(run, 3)
    path.write_bytes(flipped(path.read_bytes()))
    with pytest.raises(ZooError, match=f"{path} is damaged: its sha256 is not the one in result.json"):
        read(run, 3, record)


@pytest.mark.parametrize("value", [[1, 2], torch.zeros(3), {"weight": [1.0]}, {5: torch.zeros(3)}])
def test_a_checkpoint_that_is_no_state_dict(run: Path, value: object) -> None:
    torch.save(value, paths.checkpoint(run, 1))
    with pytest.raises(ZooError, match=f"{paths.checkpoint(run, 1)} is damaged"):
        read_state(run, 1)


@pytest.mark.parametrize("what", ["file", "folder", "result"])
def test_links_out_of_the_run_are_not_read(run: Path, tmp_path: Path, what: str) -> None:
    path = {"file": paths.checkpoint(run, 1), "folder": paths.checkpoint(run, 1).parent, "result": paths.result(run)}[
        what
    ]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ZooError, match="is a symbolic link out of"):
        read_records(run) if what == "result" else read_state(run, 1)


def test_links_within_the_run_and_to_it_are(run: Path, tmp_path: Path) -> None:
    paths.checkpoint(run, 1).rename(run / "elsewhere")
    paths.checkpoint(run, 1).symlink_to(os.path.join("..", "elsewhere"))
    (tmp_path / "link").symlink_to(run)
    assert read_state(tmp_path / "link", 1, read_records(tmp_path / "link")[1])

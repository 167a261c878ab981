"""Locks between processes; two descriptors of one process exclude each other just as well."""

import errno
import fcntl
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from zoo.disk import locks
from zoo.disk.locks import Held, is_held, locked


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / ".lock"
    with locked(lock):
        holder = rf"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(Held, match=rf"another process holds {lock} \({holder}\): wait .* or end it"), locked(lock):
            pass
    with locked(lock):
        pass


def test_a_holder_that_wrote_no_name(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    for content in ("", "1@a\x1b[31m\n", "text"):
        lock.write_text(content)
        assert locks.holder(lock) == "process unknown"


def test_waiting_is_said_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "SAY_AFTER", 0.1)
    lock = tmp_path / ".lock"
    began = time.monotonic()
    with locked(lock), pytest.raises(Held), locked(lock, patience=0.3):
        pass
    assert 0.3 <= time.monotonic() - began < 5
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"waiting for {lock}, which another process holds (process {os.getpid()} on {socket.gethostname()})"


def test_who_waits_goes_on_when_the_holder_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lock, holding = tmp_path / ".lock", threading.Event()

    def hold() -> None:
        with locked(lock):
            holding.set()
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    holding.wait()
    with locked(lock, patience=30):
        assert is_held(lock)
    thread.join()
    assert capsys.readouterr().err == ""  # such a short wait is not worth a line


def test_looking_refuses_nobody_and_writes_nothing(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    assert not is_held(lock) and not lock.exists()
    lock.touch()
    with lock.open() as looking:  # as is_held does, only longer
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not is_held(lock)
        threading.Timer(locks.MOMENT / 2, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with locked(lock):
            assert is_held(lock)
    assert not is_held(lock)


def test_a_lock_file_that_was_removed_meanwhile_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, flock = tmp_path / ".lock", fcntl.flock
    removals = iter([lock.unlink, lambda: (lock.unlink(), lock.touch())])

    def late(descriptor: int, operation: int) -> None:
        next(removals, lambda: None)()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(lock), pytest.raises(Held), locked(lock):
        pass
    assert next(removals, None) is None


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path / ".lock"), locked(tmp_path / ".lock"):
        assert not is_held(tmp_path / ".lock")

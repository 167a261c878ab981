"""Files are whole, on disk in the order in which they were written, and never somewhere else."""

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.disk import files
from zoo.errors import ZooError


def test_the_digest_is_of_the_file(tmp_path: Path) -> None:
    digest = files.write_torch(tmp_path / "folder" / "file", {"weight": torch.arange(5)})
    assert digest == hashlib.sha256((tmp_path / "folder" / "file").read_bytes()).hexdigest()
    assert torch.equal(torch.load(tmp_path / "folder" / "file")["weight"], torch.arange(5))


def test_names_are_flushed_before_what_is_written_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record must not survive a power cut that its checkpoint does not."""
    done: list[str] = []
    replace, fsync = os.replace, os.fsync

    def replaced(source: Path, target: Path) -> None:
        done.append(f"name {target.relative_to(tmp_path)}")
        replace(source, target)

    def flushed(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(f"flush {path.relative_to(tmp_path)}" if path.is_dir() else "flush content")
        fsync(descriptor)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", flushed)
    files.write_text(tmp_path / "run/new/checkpoint", "weights")
    files.write_text(tmp_path / "run/record", "done")
    assert done == [
        *("flush .", "flush run", "flush content", "name run/new/checkpoint", "flush run/new"),
        *("flush content", "name run/record", "flush run"),
    ]


def test_many_files_are_on_disk_before_any_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    replace, fsync = os.replace, os.fsync

    def replaced(source: Path, target: Path) -> None:
        done.append("name")
        replace(source, target)

    def flushed(descriptor: int) -> None:
        done.append("flush folder" if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir() else "flush content")
        fsync(descriptor)

    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", flushed)
    contents = {tmp_path / f"run{number}/{name}": memoryview(b"abc") for number in range(20) for name in "ab"}
    files.write_all(contents)
    assert done == ["flush content"] * 40 + ["name"] * 40 + ["flush folder"] * 21  # the runs' and the one they lie in
    assert all(path.read_bytes() == b"abc" for path in contents)
    assert len(list(tmp_path.rglob("*"))) == 60
    done.clear()
    files.append_all({tmp_path / "run0/a": "d\n", tmp_path / "new": "e\n"})
    assert done == ["flush content"] * 2 + ["flush folder"]
    assert (tmp_path / "run0/a").read_text() == "abcd\n" and (tmp_path / "new").read_text() == "e\n"


def test_of_many_files_that_can_t_all_be_written_none_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.write_all({tmp_path / "one": memoryview(b""), tmp_path / "file/two": memoryview(b"")})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_system_that_can_t_flush_folders_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def refusing(number: int) -> Any:
        def flush(descriptor: int) -> None:
            if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_dir():
                raise OSError(number, os.strerror(number))
            fsync(descriptor)

        return flush

    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))
    files.write_text(tmp_path / "file", "text")
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        files.write_text(tmp_path / "file", "text")


def raised(error: BaseException, cause: BaseException | None = None, context: BaseException | None = None) -> Any:
    error.__context__ = context
    if cause:
        error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FULL, True),
        (raised(RuntimeError("PytorchStreamWriter failed writing file"), cause=FULL), True),
        (raised(RuntimeError("unexpected pos"), context=raised(ValueError(), context=FULL)), True),
        (RuntimeError("CUDA out of memory"), False),
        (FileNotFoundError(errno.ENOENT, "No such file"), False),
        (raised(RuntimeError(), context=KeyError()), False),
    ],
)
def test_a_failing_storage_is_known_by_the_causes_of_an_error(error: BaseException, expected: bool) -> None:
    assert files.is_storage(error) is expected


def test_an_error_that_replaces_another_stands_for_itself() -> None:
    try:
        try:
            raise FULL
        except OSError:
            raise KeyError("instead") from None
    except KeyError as error:
        assert not files.is_storage(error)


def test_torch_on_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written to the file directly, it would be torch's own RuntimeError."""
    path_open = Path.open

    def full(path: Path, *arguments: Any) -> Any:
        path_open(path, *arguments).close()
        return open("/dev/full", "wb", buffering=0)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ZooError, match="No space left on device.*Make room"), files.storage_errors():
        files.write_torch(tmp_path / "file", {"weight": torch.zeros(100_000)})
    assert list(tmp_path.iterdir()) == []


def test_storage_errors_leave_others_alone() -> None:
    with pytest.raises(ZooError, match="^mine$"), files.storage_errors():
        raise ZooError("mine") from FULL
    with pytest.raises(KeyError), files.storage_errors():
        raise KeyError("a")


@pytest.mark.parametrize(
    "write",
    [lambda path: files.append(path, "text"), files.open_emptied, lambda path: files.append_all({path: "line"})],
)
def test_logs_are_not_written_through_links(tmp_path: Path, write: Any) -> None:
    (tmp_path / "precious").write_text("content")
    (tmp_path / "log.txt").symlink_to("precious")
    with pytest.raises(ZooError, match="log.txt is a symbolic link"):
        write(tmp_path / "log.txt")
    assert (tmp_path / "precious").read_text() == "content"


def test_a_log_is_emptied(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("before")
    with files.open_emptied(tmp_path / "log.txt") as file:
        file.write("now")
    files.append(tmp_path / "log.txt", ", later")
    assert (tmp_path / "log.txt").read_text() == "now, later"

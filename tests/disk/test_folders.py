import errno
import fcntl
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from zoo.disk import files, folders, paths
from zoo.disk.folders import alone, replacing, zip_folder
from zoo.errors import ZooError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for content in ("first", "second"):
        with replacing(folder) as new:
            assert names(new) == []
            (new / content).touch()
        assert names(folder) == [content] and names(folder.parent) == ["folder"]


def test_an_error_leaves_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").touch()
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "folder") as new:
        (new / "half").touch()
        raise KeyboardInterrupt
    assert names(tmp_path) == ["folder"] and names(tmp_path / "folder") == ["old"]


def test_what_a_killed_process_left_is_cleared_and_its_old_folder_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    for left in (paths.folder_in_progress(folder), paths.folder_replaced(folder)):
        left.mkdir()
        (left / "left").touch()
    paths.folder_lock(folder).touch()
    with pytest.raises(OSError), replacing(folder) as new:
        assert names(new) == [] and names(folder) == ["left"]
        raise OSError
    assert names(tmp_path) == ["folder"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with replacing(tmp_path / "folder") as new:
        (new / "mine").touch()
        with pytest.raises(ZooError, match="another process"), replacing(tmp_path / "folder"):
            pass
    assert names(tmp_path / "folder") == ["mine"] and names(tmp_path) == ["folder"]


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "folder").symlink_to("disk")
    with replacing(tmp_path / "folder") as new:
        (new / "content").touch()
    assert (tmp_path / "folder").is_symlink() and names(tmp_path / "disk") == ["content"]


def test_zip(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "text.md").write_text("text " * 1000)
    (tmp_path / "folder" / "inner" / "checkpoints").write_bytes(bytes(1000))
    zip_folder(tmp_path / "folder", tmp_path / "folder.zip")
    with zipfile.ZipFile(tmp_path / "folder.zip") as archive:
        assert sorted(archive.namelist()) == ["folder/inner/checkpoints", "folder/text.md"]
        assert archive.getinfo("folder/text.md").compress_size < 100
        assert archive.getinfo("folder/inner/checkpoints").compress_size == 1000


def version(archive: Path) -> bytes:
    with zipfile.ZipFile(archive) as members:
        return members.read(f"{archive.stem}/version")


def replace(folder: Path, version: str) -> None:
    with replacing(folder, paths.archive(folder)) as new:
        (new / "version").write_text(version)


def test_the_archive_is_the_new_folder(tmp_path: Path) -> None:
    for number in ("1", "2"):
        replace(tmp_path / "zoo", number)
        assert version(tmp_path / "zoo.zip") == number.encode()
    assert names(tmp_path) == ["zoo", "zoo.zip"]


@pytest.mark.parametrize("call", range(5))
def test_an_older_archive_is_never_beside_a_newer_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """However the process ends: here at each of its changes to the file system, with nothing cleared up."""
    folder = tmp_path / "zoo"
    replace(folder, "1")
    calls: list[str] = []

    class Killed(BaseException):
        pass

    def dying(function: Any) -> Any:
        def or_die(*arguments: Any, **options: Any) -> Any:
            if len(calls) > call:
                raise Killed
            calls.append(function.__name__)
            if len(calls) > call:
                raise Killed
            return function(*arguments, **options)

        return or_die

    with pytest.raises(Killed), replacing(folder, paths.archive(folder)) as new:
        (new / "version").write_text("2")
        for name in ("rename", "unlink"):
            monkeypatch.setattr(Path, name, dying(getattr(Path, name)))
        for module, name in ((folders, "zip_folder"), (folders, "remove"), (files.os, "replace")):
            monkeypatch.setattr(module, name, dying(getattr(module, name)))
    monkeypatch.undo()
    if paths.archive(folder).exists() and folder.exists():
        assert version(paths.archive(folder)) == (folder / "version").read_bytes()
    replace(folder, "3")
    assert version(paths.archive(folder)) == b"3" and names(tmp_path) == ["zoo", "zoo.zip"]


def test_what_a_process_killed_while_zipping_left_is_removed(tmp_path: Path) -> None:
    own, others = tmp_path / ".zoo[1].zip.0123abcd.tmp", tmp_path / ".zoo1.zip.0123abcd.tmp"
    for path in (own, others):
        path.write_bytes(bytes(1000))
    replace(tmp_path / "zoo[1]", "1")
    assert names(tmp_path) == [others.name, "zoo[1]", "zoo[1].zip"]


def test_the_lock_is_held_until_the_archive_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def zip_alone(folder: Path, target: Path) -> None:
        with pytest.raises(ZooError, match="another process"), replacing(folder):
            pass
        zip_folder(folder, target)

    monkeypatch.setattr(folders, "zip_folder", zip_alone)
    replace(tmp_path / "zoo", "1")
    assert names(tmp_path) == ["zoo", "zoo.zip"]


def test_a_lock_that_its_last_holder_removed_meanwhile_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening of a lock file and its locking, another process may end, and remove it."""
    lock, flock = tmp_path / "lock", fcntl.flock
    removals = iter([lock.unlink, lambda: (lock.unlink(), lock.touch())])

    def late(file: Any, operation: int) -> None:
        next(removals, lambda: None)()
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with alone(lock), pytest.raises(ZooError, match="another process holds"), alone(lock):
        pass
    assert next(removals, None) is None and names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
@pytest.mark.parametrize("function", ["mkdir", "open", "rename"])
def test_storage_that_is_full_or_read_only_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    replace(tmp_path / "zoo", "1")

    def fails(path: Path, *_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(path))

    with monkeypatch.context() as patched, pytest.raises(ZooError, match="Make room, or make the folder writable"):
        patched.setattr(Path, function, fails)
        replace(tmp_path / "zoo", "2")
    assert (tmp_path / "zoo" / "version").read_text() == "1"


def test_a_full_disk_while_the_folder_is_filled(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="No space left"), replacing(tmp_path / "zoo"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_place_where_no_folder_can_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = [tmp_path / "file" / "zoo", tmp_path / "file" / "zoos" / "zoo", Path("/proc/zoo"), tmp_path / ("z" * 250)]
    for folder in places:
        with pytest.raises(ZooError, match="can't write in .*: choose another folder or name"), replacing(folder):
            pass
    assert names(tmp_path) == ["file"]

import zipfile
from pathlib import Path

import pytest

from zoo.disk import paths
from zoo.disk.folders import replacing, zip_folder
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

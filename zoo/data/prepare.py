"""Images prepared once, and kept in a cache folder for every sweep that asks for them."""

import hashlib
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from zoo.data.check import check
from zoo.data.errors import DataError
from zoo.data.images import Images
from zoo.data.raw_files import RawFiles
from zoo.data.splits import images_of, read_source
from zoo.disk import paths
from zoo.disk.locks import locked

PATIENCE = 3600.0  # seconds for which to wait for another process that prepares images; Tiny-ImageNet takes minutes
PLACES = ("root", "download", "cache")  # the options that change where files lie, not what the tensors hold
SAID_AFTER = 5.0  # seconds of reading raw files until a line tells of it
UNKNOWN_ORIGIN = "it does not say which raw files it comes from"  # made by version 0.1.0, or copied without its note


def prepare(data: Mapping[str, Any]) -> Path:
    """The file of the images that the config `data` asks for, in its cache folder; made if it is not there yet.

    `data` is plain and resolved, with the keys of conf/data/shared/base.yaml. Its file is named by all of them but
    PLACES. One that is damaged, or whose raw files have changed since, is made anew; raw files that are gone do no
    harm to it. Of several processes that want the same images, one makes them and the others wait. Raises DataError.
    """
    check(data)
    path = paths.prepared(Path(data["cache"]).expanduser(), data["name"], _digest(data))
    if _fault(path, data):
        with _alone(path.parent):
            if fault := _fault(path, data):  # no other process has made them meanwhile
                _renew(path, data, fault)
    return path


def _digest(data: Mapping[str, Any]) -> str:
    content = {key: value for key, value in data.items() if key not in PLACES}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _fault(path: Path, data: Mapping[str, Any]) -> str | None:
    """Why the file of prepared images can't be used; None if it can."""
    if not path.exists():
        return "it is missing"
    try:
        images = Images.load(path)
    except DataError:
        return "it was damaged"
    if noted := RawFiles.read(path, images.digest):
        return noted.changes(data)
    # what can't be replaced is used as it is
    return UNKNOWN_ORIGIN if os.access(path.parent, os.W_OK) else None


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """While entered, no other process prepares images in the folder."""
    _require_writable(cache)
    lock = paths.preparation_lock(cache)
    with ExitStack() as held:
        try:
            held.enter_context(locked(lock, PATIENCE))
        except OSError as error:
            raise DataError(f"cannot open {lock} ({error}): set data.cache to a folder of your own") from error
        yield


def _require_writable(folder: Path) -> None:
    """Fail before minutes of preparing rather than after them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(
            f"cannot write to {folder} ({error}): set data.cache to a folder that you can write to"
        ) from error


def _renew(path: Path, data: Mapping[str, Any], fault: str) -> None:
    """Make the file of prepared images, in place of one with this fault. To be called by one process at a time."""
    for leftover in paths.preparation_leftovers(path.parent):
        leftover.unlink(missing_ok=True)
    if fault == UNKNOWN_ORIGIN and not _is_there(data):
        return
    anew = f" anew: {fault}" if path.exists() else ""
    with _saying_late(f"reading the raw files of {data['name']}"):
        source = read_source(data)
    _say(f"preparing {data['train'] + data['val'] + data['test']:,} images of {data['name']} in {path}{anew}")
    # looked at before the images are read one by one: if they change meanwhile, the next preparation sees it
    raw = RawFiles.of(source.files, data)
    images = images_of(source, data)
    images.save(path)
    raw.write(path, images.digest)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _saying_late(text: str) -> Iterator[None]:
    """Say it of what is not done at once."""
    timer = threading.Timer(SAID_AFTER, _say, [text])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_there(data: Mapping[str, Any]) -> bool:
    """Whether the raw files are, without downloading any."""
    try:
        read_source({**data, "download": False})
        return True
    except DataError:
        return False

"""A zoo of ours as the source of a dataset, in the zip file that was made of it: nothing is unpacked to disk.

The tables are read into memory; the weights lie in the file as they are, and are mapped where they lie.
"""

import io
import json
import struct
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.data.images import Images
from zoo.dataset.folder import ZooSource, is_zoo
from zoo.disk import paths
from zoo.format.reading import checking, damaged, json_object_in, reading
from zoo.format.runs import Place
from zoo.format.weights import TENSOR, Shards, require_indexed, shard_names

LARGEST = 2**33  # bytes of a file in memory; a zip file may say that it unpacks to anything
HEADER = struct.Struct("<4s22xHH")  # before a file in a zip: signature, and the lengths of its name and extra field
HEADER_BYTES = 2**20  # the longest header of a safetensors file that is read


class ZipStates(Shards):
    """As in a folder, but copies: in a zip file, numbers may begin at any byte, which not all processors take."""

    def state(self, model: int, epoch: int) -> Tensor:
        return super().state(model, epoch).clone()

    def states(self, rows: np.ndarray) -> Tensor:
        return super().states(rows).clone()


class ZooZip(ZooSource):
    def __init__(self, path: Path, archive: zipfile.ZipFile, root: Path):
        """`root`: the folder in the archive that is the zoo."""
        self.path, self.archive, self.inner, self.root = path, archive, root, path / root
        self.members = {info.filename: info for info in archive.infolist()}
        if len(self.members) < len(archive.infolist()):
            raise damaged(path, "it has two files of the same name")
        self.weights = ZipStates(self.shards())
        self.require_whole()

    def info(self, path: Path) -> zipfile.ZipInfo:
        name = path.relative_to(self.path).as_posix()
        if name not in self.members:
            raise damaged(path, "it is missing")
        info = self.members[name]
        if info.flag_bits & 1:
            raise damaged(path, "it is encrypted")
        return info

    def has(self, path: Path) -> bool:
        return path.relative_to(self.path).as_posix() in self.members

    def content(self, path: Path) -> bytes:
        info = self.info(path)
        with checking(path):
            if info.file_size > LARGEST:
                raise ValueError(f"it would take {info.file_size:,} bytes")
            return self.archive.read(info)

    def shards(self) -> list[Tensor]:
        index, whole = paths.weights_index(self.root), paths.weights(self.root)
        if not self.has(index):
            return [self.mapped(whole)]
        if self.has(whole):
            raise damaged(index, f"there is {whole.name}, too: which has the weights?")
        saved = self.json(index)
        names = shard_names(index, saved)
        shards = [self.mapped(self.root / name) for name in names]
        require_indexed(index, saved, names, shards)
        return shards

    def mapped(self, path: Path) -> Tensor:
        """The tensor [models, epochs, parameters] of a safetensors file that is stored as it is."""
        info = self.info(path)
        with checking(path):
            start = self.start(info)
            with open(self.path, "rb") as file:
                file.seek(start)
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(min(length, HEADER_BYTES)))
            shape = checked_shape(header, info.file_size - 8 - length)
            # copy on write, as for a file in a folder: changing weights never changes the file
            return torch.from_numpy(np.memmap(self.path, "<f4", "c", start + 8 + length, shape))

    def start(self, info: zipfile.ZipInfo) -> int:
        """Where the content of a stored file begins."""
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise ValueError("it is compressed: unpack the zip file to open the zoo")
        self.archive.open(info).close()  # which looks whether the header here is this file's
        with open(self.path, "rb") as file:
            file.seek(info.header_offset)
            signature, name, extra = HEADER.unpack(file.read(HEADER.size))
            start = info.header_offset + HEADER.size + name + extra
            if signature != b"PK\3\4" or start + info.file_size > file.seek(0, io.SEEK_END):
                raise ValueError("the file ends before its content")
        return int(start)

    @cached_property
    def runs(self) -> zipfile.ZipFile | None:
        """The archive of runs in the archive, of a compact zoo."""
        path = paths.runs_archive(self.root)
        if not self.has(path):
            return None
        info = self.info(path)
        with checking(path):
            return zipfile.ZipFile(self.archive.open(info))

    def params(self, model: int) -> dict[str, Any]:
        folder = paths.runs(self.root) if self.runs is None else paths.runs_archive(self.root)
        path = paths.params(folder / self.node(model))
        content = self.run_file(model, paths.params)
        if content is None:
            raise damaged(path, "it is missing")
        return json_object_in(path, content)

    def optimizer(self, model: int, epoch: int) -> bytes | None:
        return self.run_file(model, lambda run: paths.optimizer(run, epoch))

    def run_file(self, model: int, place: Place) -> bytes | None:
        """A file of a model's run; None if there is none."""
        node = self.node(model)
        if self.runs is None:
            path = place(paths.runs(self.root) / node)
            return self.content(path) if self.has(path) else None
        path = place(paths.runs_archive(self.root) / node)
        with checking(path):
            info = self.runs.NameToInfo.get(place(Path(node)).as_posix())
            if info and info.file_size > LARGEST:
                raise ValueError(f"it would take {info.file_size:,} bytes")
            return self.runs.read(info) if info else None

    def images(self) -> Images:
        path = paths.images(self.root)
        return Images.load_from(path, io.BytesIO(self.content(path)))


def checked_shape(header: Any, size: int) -> tuple[int, int, int]:
    """The shape of the tensor of weights that a safetensors header describes; raises whatever is wrong."""
    entries = {key: value for key, value in header.items() if key != "__metadata__"}
    shape, dtype = entries[TENSOR]["shape"], entries[TENSOR]["dtype"]
    whole = all(type(side) is int and side > 0 for side in shape)
    if len(entries) > 1 or dtype != "F32" or len(shape) != 3 or not whole:
        raise ValueError(f"its tensor is {dtype} {shape}, not F32 [models, epochs, parameters]")
    if 4 * shape[0] * shape[1] * shape[2] != size or entries[TENSOR]["data_offsets"] != [0, size]:
        raise ValueError(f"its tensor of {shape} does not fill its {size} bytes")
    return tuple(shape)


def open_zip(path: Path) -> ZooZip | None:
    """The zoo in a zip file: in its only folder, as `analyze.py` packs it, or without a folder around it."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return None
    with reading(path):
        archive = zipfile.ZipFile(path)
        names = set(archive.namelist())
        roots = {Path(), *(Path(name.split("/")[0]) for name in names if "/" in name)} - {Path(".."), Path("/")}
        found = [root for root in roots if is_zoo(lambda path: path.as_posix() in names, root)]
        if len(found) > 1:
            raise damaged(path, f"it has several zoos, {found[0]} and {found[1]}: unpack it to open one")
        return ZooZip(path, archive, found[0]) if found else None

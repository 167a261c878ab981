"""Zoos that were damaged, or made to do harm: each is refused in one line, or read right.

What can't be told without checksums is listed in `TOLERATED`.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from zoo import ZooDataset
from zoo.data.images import Images, Split
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import tables
from zoo.format.architecture import Architecture
from zoo.format.weights import WeightsWriter

Damage = Callable[[Path], Any]

MODELS, EPOCHS = 4, 3  # epochs 0, 1, 2; model 1 is unfinished, model 2 has diverged
LAST_EPOCHS = [2, 1, 1, 2]


def network(dropout: bool) -> nn.Module:
    return nn.Sequential(*[nn.Dropout()] * dropout, nn.Linear(2, 3), nn.BatchNorm1d(3))


def make(zoo: Path, shard_bytes: int) -> Path:
    """A zoo as collate makes it, of made-up numbers: nothing is trained."""
    zoo.mkdir()
    generator = np.random.default_rng(0)
    architecture = Architecture.of(network(False))
    architecture.include(network(True))
    architecture.save(paths.architecture(zoo))
    with WeightsWriter(zoo, EPOCHS, architecture.length, shard_bytes) as writer:
        for last in LAST_EPOCHS:
            writer.add(torch.from_numpy(generator.random((last + 1, architecture.length), dtype=np.float32)))
    columns = tables.LOSSES_AND_ACCURACIES
    histories = [
        [
            dict(zip(columns, generator.random(6), strict=True)) | {"diverged": model == 2 and epoch == last}
            for epoch in range(last + 1)
        ]
        for model, last in enumerate(LAST_EPOCHS)
    ]
    params = [
        {"node": f"node_{seed}", "model.dropout": dropout, "optim": "adam", "optim.lr": 1e-3, "seed": seed}
        for dropout in (0.0, 0.5)
        for seed in (0, 1)
    ]
    for number, node in enumerate(params):
        node["node"] += f"_{number}"
    states = tables.states(histories)
    tables.write(paths.metrics(zoo), states)
    models = tables.models(params, [0, 0, 1, 1], ["model.dropout", "seed"], states, EPOCHS - 1)
    tables.write(paths.models(zoo), models)
    pattern = {"model.dropout": [0.0, 0.5], "seed": [0, 1]}
    files.write_json(paths.config(zoo), {"search_pattern": pattern, "protocol": {"optim": "adam", "optim.lr": 1e-3}})
    split = Split(torch.zeros(2, 1, 3, 3), torch.zeros(2, dtype=torch.int64))
    Images("made up", split, split, split, 0, ["a"], [0.0], [1.0]).save(paths.images(zoo))
    return zoo


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo whose weights are one file."""
    return make(tmp_path_factory.mktemp("whole") / "zoo", 2**20)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same zoo, with one model in each file of weights."""
    return make(tmp_path_factory.mktemp("sharded") / "zoo", 1)


def copy(zoo: Path, folder: Path) -> Path:
    return shutil.copytree(zoo, folder / "zoo")


def require_refused(zoo: Path, message: str | None = None) -> None:
    with pytest.raises(ZooError, match=message) as caught:
        ZooDataset(zoo).images()
    text = str(caught.value)
    assert "\n" not in text and text.isprintable() and len(text) < 1000
    assert str(zoo) in text


# damages that any file can have


def link_outside(path: Path) -> None:
    outside = path.parent.with_name("outside")
    path.rename(outside)
    path.symlink_to(outside)


def replace(make: Callable[[Path], Any]) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


def rewrite(change: Callable[[bytes], bytes]) -> Damage:
    return lambda path: path.write_bytes(change(path.read_bytes()))


ANY_FILE: dict[str, Damage] = {
    "missing": Path.unlink,
    "empty": rewrite(lambda content: b""),
    "cut": rewrite(lambda content: content[: len(content) // 2]),
    "a zero byte": rewrite(lambda content: b"\0"),
    "not UTF-8": rewrite(lambda content: b"\xff\xfe" + content),
    "zeros": rewrite(lambda content: bytes(len(content))),
    "another file": rewrite(lambda content: b"PK\x03\x04 no such thing"),
    "a folder": replace(Path.mkdir),
    "a pipe": replace(lambda path: os.mkfifo(path)),
    "a device": replace(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": replace(lambda path: path.symlink_to("nothing")),
    "a link to itself": replace(lambda path: path.symlink_to(path.name)),
    "a link to elsewhere": link_outside,
    "a link to the system": replace(lambda path: path.symlink_to("/etc/passwd")),
}
FILES = {
    **{path.__name__: path for path in (paths.config, paths.architecture, paths.models, paths.metrics)},
    **{path.__name__: path for path in (paths.weights, paths.images)},
}


@pytest.mark.parametrize("damage", ANY_FILE.values(), ids=ANY_FILE)
@pytest.mark.parametrize("path", FILES.values(), ids=FILES)
def test_a_damaged_file(whole: Path, tmp_path: Path, path: Callable[[Path], Path], damage: Damage) -> None:
    zoo = copy(whole, tmp_path)
    damage(path(zoo))
    require_refused(zoo)


@pytest.mark.parametrize("damage", ANY_FILE.values(), ids=ANY_FILE)
@pytest.mark.parametrize(
    "path", [paths.weights_index, lambda zoo: paths.weights_shard(zoo, 2, MODELS)], ids=["index", "shard"]
)
def test_a_damaged_shard_or_index(sharded: Path, tmp_path: Path, path: Callable[[Path], Path], damage: Damage) -> None:
    zoo = copy(sharded, tmp_path)
    damage(path(zoo))
    require_refused(zoo)


OTHER_JSON = ["null", "[]", "3", '"text"', "{}", '{"tensors": null}', "[" * 100_000, "{" + '"a":{' * 50_000, "1" * 5000]


@pytest.mark.parametrize("text", OTHER_JSON, ids=[text[:20] for text in OTHER_JSON])
@pytest.mark.parametrize(
    "path", [paths.config, paths.architecture, paths.weights_index], ids=lambda path: path.__name__
)
def test_json_of_another_kind(sharded: Path, tmp_path: Path, path: Callable[[Path], Path], text: str) -> None:
    zoo = copy(sharded, tmp_path)
    path(zoo).write_text(text)
    require_refused(zoo, f"{path(zoo).name} is damaged")


# damages of one file


def change_json(path: Callable[[Path], Path], *keys: Any, to: Any) -> Damage:
    """Set the value at `keys`, or remove it if `to` is ..."""

    def damage(zoo: Path) -> None:
        inner = content = json.loads(path(zoo).read_text())
        for key in keys[:-1]:
            inner = inner[key]
        if to is ...:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = to
        path(zoo).write_text(json.dumps(content))

    return damage


def change_table(path: Callable[[Path], Path], change: Callable[[pd.DataFrame], Any]) -> Damage:
    """Change a table of texts, in place or into what `change` returns."""

    def damage(zoo: Path) -> None:
        table = pd.read_csv(path(zoo), dtype=object, keep_default_na=False)
        changed = change(table)
        (table if changed is None else changed).to_csv(path(zoo), index=False)

    return damage


def change_text(path: Callable[[Path], Path], old: str, new: str) -> Damage:
    def damage(zoo: Path) -> None:
        text = path(zoo).read_text()
        assert old in text
        path(zoo).write_text(text.replace(old, new, 1))

    return damage


def cell(path: Callable[[Path], Path], row: int, column: str, value: str) -> Damage:
    def change(table: pd.DataFrame) -> None:
        table.loc[row, column] = value

    return change_table(path, change)


def node(name: str) -> Damage:
    return cell(paths.models, 1, "node", name)


def model(column: str, value: str, row: int = 0) -> Damage:
    return cell(paths.models, row, column, value)


def state(column: str, value: str, row: int = 1) -> Damage:
    return cell(paths.metrics, row, column, value)


def rows(path: Callable[[Path], Path], order: Callable[[int], list[int]]) -> Damage:
    return change_table(path, lambda table: table.iloc[order(len(table))])


def tensor(number: int, key: str, value: Any) -> Damage:
    return change_json(paths.architecture, "tensors", number, key, to=value)


def weights(change: Callable[[torch.Tensor], torch.Tensor], name: str = "weights") -> Damage:
    def damage(zoo: Path) -> None:
        save_file({name: change(load_file(paths.weights(zoo))["weights"]).contiguous()}, paths.weights(zoo))

    return damage


def safetensors_header(text: str) -> Damage:
    def damage(zoo: Path) -> None:
        content = paths.weights(zoo).read_bytes()
        start = 8 + int.from_bytes(content[:8], "little")
        header = text.encode()
        paths.weights(zoo).write_bytes(len(header).to_bytes(8, "little") + header + content[start:])

    return damage


def header(dtype: str, shape: list[int], end: int) -> Damage:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}
    return safetensors_header(json.dumps({"weights": entry}))


def longer_rows(zoo: Path) -> None:
    first, *lines = paths.models(zoo).read_text().splitlines()
    paths.models(zoo).write_text("\n".join([first, *(f"{line},1" for line in lines)]))


SIZE = 4 * MODELS * EPOCHS * 22  # bytes of all states

CONFIG: dict[str, Damage] = {
    "no search pattern": change_json(paths.config, "search_pattern", to=...),
    "a search pattern that is a list": change_json(paths.config, "search_pattern", to=["seed"]),
    "a search pattern that is null": change_json(paths.config, "search_pattern", to=None),
    "a factor whose values are a number": change_json(paths.config, "search_pattern", "seed", to=3),
    "a factor whose values are a text": change_json(paths.config, "search_pattern", "seed", to="01"),
    "a factor whose values are an object": change_json(paths.config, "search_pattern", "seed", to={"a": 1}),
    "a factor that no model has": change_json(paths.config, "search_pattern", "batch_size", to=[1, 2]),
    "a factor that is no hyperparameter": change_json(paths.config, "search_pattern", "test_acc", to=[1, 2]),
    "a factor that is the id": change_json(paths.config, "search_pattern", "id", to=[1, 2]),
}

MODELS_TABLE: dict[str, Damage] = {
    "ids twice": model("id", "1"),
    "ids reversed": rows(paths.models, lambda count: list(range(count))[::-1]),
    "an id below 0": model("id", "-1"),
    "a huge id": model("id", "9" * 30),
    "an id of 64 bits": model("id", str(2**63)),
    "an id with a fraction": model("id", "0.5"),
    "an id that is a text": model("id", "zero"),
    "no id": model("id", ""),
    "an infinite id": model("id", "inf"),
    "a model twice": rows(paths.models, lambda count: [0, 0, 1, 2, 3]),
    "a model less": rows(paths.models, lambda count: [0, 1, 2]),
    "the first model missing": rows(paths.models, lambda count: [1, 2, 3]),
    "no model": rows(paths.models, lambda count: []),
    "a node above": node("../outside"),
    "a node below": node("inner/node"),
    "a node elsewhere": node("/etc/passwd"),
    "a node of Windows": node("..\\outside"),
    "the node .": node("."),
    "the node ..": node(".."),
    "a node without a name": node(""),
    "a node with a line break": node("node\nnode"),
    "a node with a zero byte": change_text(paths.models, "node_1_1", "node\0"),
    "a node that moves the cursor": node("\x1b[2Jnode"),
    "a node of 256 letters": node("n" * 256),
    "the same node twice": node("node_0_0"),
    "variant -1": model("variant", "-1"),
    "a variant too high": model("variant", "2"),
    "no variant": model("variant", ""),
    "a variant with a fraction": model("variant", "0.5"),
    "a variant that is a text": model("variant", "a"),
    "a last epoch less": model("last_epoch", "1"),
    "a last epoch more": model("last_epoch", "2", row=1),
    "a last epoch that there is not": model("last_epoch", "3"),
    "a last epoch below 0": model("last_epoch", "-1"),
    "no last epoch": model("last_epoch", ""),
    "a huge last epoch": model("last_epoch", "9" * 18),
    "an unknown status": model("status", "done"),
    "no status": model("status", ""),
    "an unfinished model called finished": model("status", "finished", row=1),
    "a finished model called unfinished": model("status", "unfinished"),
    "a finished model called diverged": model("status", "diverged"),
    "a diverged model called finished": model("status", "finished", row=2),
    "diverged, but its states are not": model("diverged", "True"),
    "not diverged, but its last state is": model("diverged", "False", row=2),
    "diverged neither True nor False": model("diverged", "maybe"),
    "no diverged": model("diverged", ""),
    "another accuracy than its last state's": model("test_acc", "0.5"),
    "no accuracy": model("test_acc", ""),
    "an accuracy that is a text": model("test_acc", "high"),
    "an infinite loss": model("train_loss", "inf"),
    "another best epoch": change_table(
        paths.models, lambda table: table.assign(best_epoch=(table["best_epoch"].astype(int) + 1) % 3)
    ),
    "a best epoch that there is not": model("best_epoch", "3"),
    "no best epoch": model("best_epoch", ""),
    "a best epoch with a fraction": model("best_epoch", "0.5"),
    "a column less": change_table(paths.models, lambda table: table.drop(columns="status")),
    "no nodes": change_table(paths.models, lambda table: table.drop(columns="node")),
    "no variants": change_table(paths.models, lambda table: table.drop(columns="variant")),
    "no column of a factor": change_table(paths.models, lambda table: table.drop(columns="seed")),
    "a column twice": change_text(paths.models, "optim.lr", "seed"),
    "a column without a name": change_text(paths.models, "optim.lr", ""),
    "a hyperparameter called epoch": change_text(paths.models, "optim.lr", "epoch"),
    "an open quotation mark": change_text(paths.models, "adam", '"adam'),
    "a row that is too long": change_text(paths.models, "node_1_1,", "node_1_1,,,,"),
    "rows that are too long": longer_rows,
    "a row that is too short": change_text(paths.models, "node_1_1,0,", "node_1_1,"),
    "only a header": change_table(paths.models, lambda table: table.iloc[:0]),
    "no header": lambda zoo: rewrite(lambda content: content.partition(b"\n")[2])(paths.models(zoo)),
}

STATES_TABLE: dict[str, Damage] = {
    "a state twice": rows(paths.metrics, lambda count: [0, *range(count)]),
    "a state less at the end": rows(paths.metrics, lambda count: list(range(count - 1))),
    "a state less in between": rows(paths.metrics, lambda count: [0, *range(2, count)]),
    "no initialisation": rows(paths.metrics, lambda count: list(range(1, count))),
    "no state": rows(paths.metrics, lambda count: []),
    "states reversed": rows(paths.metrics, lambda count: list(range(count))[::-1]),
    "two states swapped": rows(paths.metrics, lambda count: [1, 0, *range(2, count)]),
    "models swapped": rows(paths.metrics, lambda count: [3, 4, 0, 1, 2, *range(5, count)]),
    "an epoch twice": state("epoch", "0"),
    "an epoch below 0": state("epoch", "-1"),
    "an epoch beyond the weights": state("epoch", "3", row=2),
    "more epochs than there are weights": change_text(paths.metrics, "\n1,0,", "\n0,3,0,0,0,0,0,0,0,False\n1,0,"),
    "a huge epoch": state("epoch", "9" * 18),
    "an epoch of 64 bits": state("epoch", str(2**64)),
    "no epoch": state("epoch", ""),
    "an id that no model has": state("id", "4"),
    "an id of another model": state("id", "1", row=2),
    "a state's id below 0": state("id", "-1", row=0),
    "a state's huge id": state("id", "9" * 18),
    "a state's id with a fraction": state("id", "0.5"),
    "no id of a state": state("id", ""),
    "a state diverged that is not": state("diverged", "True", row=2),
    "a state not diverged that is": state("diverged", "False", row=6),
    "a state that is maybe diverged": state("diverged", "maybe"),
    "a state with no diverged": state("diverged", ""),
    "a loss that is a text": state("train_loss", "low"),
    "a state's infinite loss": state("train_loss", "-inf"),
    "an accuracy above 1": state("val_acc", "1.5"),
    "an accuracy below 0": state("val_acc", "-0.5"),
    "a missing train accuracy": state("train_acc", ""),
    "a missing validation accuracy": state("val_acc", ""),
    "a missing test accuracy": state("test_acc", ""),
    "a missing generalisation gap": state("ggap", ""),
    "another generalisation gap": state("ggap", "0.75"),
    "another accuracy of a last state": state("val_acc", "0.5", row=2),
    "another loss of a last state": state("val_loss", "0.5", row=2),
    "a column of metrics less": change_table(paths.metrics, lambda table: table.drop(columns="val_acc")),
    "a column of metrics twice": change_text(paths.metrics, "val_acc", "val_loss"),
    "columns of metrics swapped": change_text(paths.metrics, "id,epoch", "epoch,id"),
}

ARCHITECTURE: dict[str, Damage] = {
    "no tensors": change_json(paths.architecture, "tensors", to=[]),
    "no variants": change_json(paths.architecture, "variants", to=[]),
    "no layers": change_json(paths.architecture, "layers", to=[]),
    "a tensor less": change_json(paths.architecture, "tensors", 6, to=...),
    "a layer less": change_json(paths.architecture, "layers", 1, to=...),
    "variants that are a text": change_json(paths.architecture, "variants", to="abcdefg"),
    "a variant that is a text": change_json(paths.architecture, "variants", 0, to="abcdefg"),
    "a variant that is an object": change_json(paths.architecture, "variants", 0, to=dict.fromkeys("abcdefg")),
    "a variant with a key less": change_json(paths.architecture, "variants", 1, 6, to=...),
    "a variant with a key twice": change_json(paths.architecture, "variants", 1, 0, to="1.bias"),
    "a key that is a number": change_json(paths.architecture, "variants", 0, 0, to=3),
    "a key that is a list": change_json(paths.architecture, "variants", 0, 0, to=[]),
    "a start that overlaps": tensor(1, "start", 5),
    "a start that leaves a gap": tensor(1, "start", 7),
    "a start below 0": tensor(0, "start", -1),
    "a start beyond the vector": tensor(6, "start", 22),
    "a start with a fraction": tensor(1, "start", 6.0),
    "a start that is a text": tensor(1, "start", "6"),
    "a length below 0": tensor(1, "length", -3),
    "a length that is not the shape's": tensor(1, "length", 4),
    "a length that is True": tensor(6, "length", True),
    "a huge length": tensor(1, "length", 10**30),
    "a huge shape": tensor(1, "shape", [2**62, 2**62]),
    "an empty shape of huge sides": tensor(1, "shape", [0, 2**64]),
    "a side below 0": tensor(0, "shape", [-3, -2]),
    "a side that is a text": tensor(0, "shape", ["3", 2]),
    "a shape that is a number": tensor(0, "shape", 6),
    "a shape that is null": tensor(0, "shape", None),
    "a shape that is an object": tensor(0, "shape", {"3": 2}),
    "a shape of another size": tensor(0, "shape", [3, 3]),
    "an unknown dtype": tensor(0, "dtype", "float33"),
    "a dtype that is a function": tensor(0, "dtype", "load"),
    "a dtype that is a module": tensor(0, "dtype", "hub"),
    "a dtype with a dot": tensor(0, "dtype", "float32.__class__"),
    "a complex dtype": tensor(0, "dtype", "complex64"),
    "a dtype that is a list": tensor(0, "dtype", ["float32"]),
    "a dtype that is null": tensor(0, "dtype", None),
    "an unknown kind": tensor(0, "kind", "optimizer"),
    "a kind that is a list": tensor(0, "kind", ["parameter"]),
    "another kind": tensor(0, "kind", "buffer"),
    "a layer that there is not": tensor(0, "layer", 2),
    "a layer below 0": tensor(0, "layer", -1),
    "a layer that is a text": tensor(0, "layer", "0"),
    "a name that is a number": tensor(0, "name", 0),
    "a tensor with a key less": tensor(0, "name", ...),
    "a tensor with a key more": tensor(0, "stride", 1),
    "a tensor that is null": change_json(paths.architecture, "tensors", 0, to=None),
    "a tensor that is a text": change_json(paths.architecture, "tensors", 0, to="tensor"),
    "a layer's type that is a number": change_json(paths.architecture, "layers", 0, "type", to=3),
    "a layer's other length": change_json(paths.architecture, "layers", 0, "length", to=8),
    "another number of parameters": change_json(paths.architecture, "parameters", to=1),
    "another length": change_json(paths.architecture, "length", to=21),
    "a length that is a text": change_json(paths.architecture, "length", to="22"),
    "a model that is null": change_json(paths.architecture, "model", to=None),
    "an infinite length": change_json(paths.architecture, "length", to=float("inf")),
}

WEIGHTS: dict[str, Damage] = {
    "a model's weights less": weights(lambda states: states[1:]),
    "a model's weights more": weights(lambda states: states[[0, *range(MODELS)]]),
    "an epoch less": weights(lambda states: states[:, 1:]),
    "an epoch more": weights(lambda states: states[:, [0, *range(EPOCHS)]]),
    "a parameter less": weights(lambda states: states[..., 1:]),
    "a parameter more": weights(lambda states: states[..., [0, *range(22)]]),
    "axes swapped": weights(lambda states: states.transpose(0, 1)),
    "two axes": weights(lambda states: states.flatten(1)),
    "four axes": weights(lambda states: states[None]),
    "no models": weights(lambda states: states[:0]),
    "no epochs": weights(lambda states: states[:, :0]),
    "no parameters": weights(lambda states: states[..., :0]),
    "float64": weights(torch.Tensor.double),
    "float16": weights(torch.Tensor.half),
    "integers": weights(torch.Tensor.int),
    "another name": weights(lambda states: states, "other"),
    "no tensor": safetensors_header("{}"),
    "a header that is a list": safetensors_header("[]"),
    "a header that is no JSON": safetensors_header("{"),
    "a deep header": safetensors_header("[" * 100_000),
    "a header of another dtype": header("I32", [MODELS, EPOCHS, 22], SIZE),
    "a header of an unknown dtype": header("F33", [MODELS, EPOCHS, 22], SIZE),
    "a header that promises more": header("F32", [2 * MODELS, EPOCHS, 22], 2 * SIZE),
    "a huge header": header("F32", [2**40, 2**20, 22], SIZE),
    "a header of sides that overflow": header("F32", [2**32, 2**32, 2**32], SIZE),
    "a header of sides below 0": header("F32", [-MODELS, -EPOCHS, 22], SIZE),
    "an empty tensor of huge sides": header("F32", [0, 2**62, 2**62], 0),
    "a header longer than the file": lambda zoo: rewrite(lambda content: b"\xff" * 8 + content[8:])(paths.weights(zoo)),
    "a byte less": lambda zoo: rewrite(lambda content: content[:-1])(paths.weights(zoo)),
    "a byte more": lambda zoo: rewrite(lambda content: content + b"0")(paths.weights(zoo)),
}

SPECIFIC = {
    **{f"config: {name}": damage for name, damage in CONFIG.items()},
    **{f"models: {name}": damage for name, damage in MODELS_TABLE.items()},
    **{f"metrics: {name}": damage for name, damage in STATES_TABLE.items()},
    **{f"architecture: {name}": damage for name, damage in ARCHITECTURE.items()},
    **{f"weights: {name}": damage for name, damage in WEIGHTS.items()},
}


@pytest.mark.parametrize("damage", SPECIFIC.values(), ids=SPECIFIC)
def test_a_zoo_with(whole: Path, tmp_path: Path, damage: Damage) -> None:
    zoo = copy(whole, tmp_path)
    damage(zoo)
    require_refused(zoo)


# damages of weights in several files


def shard(zoo: Path, number: int) -> Path:
    return paths.weights_shard(zoo, number, MODELS)


def index(*keys: Any, to: Any) -> Damage:
    return change_json(paths.weights_index, *keys, to=to)


def reshape_shard(number: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    def damage(zoo: Path) -> None:
        states = load_file(shard(zoo, number))["weights"]
        save_file({"weights": change(states).contiguous()}, shard(zoo, number))

    return damage


SHARDS: dict[str, Damage] = {
    "no shards": index("shards", to=[]),
    "shards that are an object": index("shards", to={"file": "a"}),
    "a shard that is a text": index("shards", 0, to="weights-00001-of-00004.safetensors"),
    "a shard without a file": index("shards", 0, "file", to=...),
    "a shard without a first model": index("shards", 0, "first", to=...),
    "a file above": index("shards", 0, "file", to="../weights.safetensors"),
    "a file elsewhere": index("shards", 0, "file", to="/etc/passwd"),
    "a file below": index("shards", 0, "file", to="inner/weights.safetensors"),
    "a file that is the folder": index("shards", 0, "file", to="."),
    "a file that is no text": index("shards", 0, "file", to=3),
    "a file that is null": index("shards", 0, "file", to=None),
    "a file with a zero byte": index("shards", 0, "file", to="weights\0"),
    "a file that is another": index("shards", 0, "file", to="config.json"),
    "a file twice": index("shards", 0, "file", to="weights-00002-of-00004.safetensors"),
    "shards that overlap": index("shards", 1, "first", to=0),
    "shards that leave a gap": index("shards", 1, "first", to=2),
    "a first model below 0": index("shards", 0, "first", to=-1),
    "a first model that is a text": index("shards", 0, "first", to="0"),
    "more models than the file has": index("shards", 0, "models", to=2),
    "models below 0": index("shards", 0, "models", to=-1),
    "a shard less": index("shards", 3, to=...),
    "another shape": index("shape", to=[MODELS, EPOCHS, 21]),
    "another number of models": index("shape", 0, to=MODELS + 1),
    "no shape": index("shape", to=...),
    "another tensor": index("tensor", to="other"),
    "no such shard": lambda zoo: shard(zoo, 4).unlink(),
    "a whole file beside them": lambda zoo: shutil.copy(shard(zoo, 1), paths.weights(zoo)),
    "a shard of other epochs": reshape_shard(2, lambda states: states[:, 1:]),
    "a shard of other parameters": reshape_shard(3, lambda states: states[..., 1:]),
    "a shard of other models": reshape_shard(4, lambda states: states[[0, 0]]),
    "a shard of float64": reshape_shard(2, torch.Tensor.double),
    "a shard of two axes": reshape_shard(2, lambda states: states[0]),
    "shards exchanged in the index": lambda zoo: index(
        "shards", to=json.loads(paths.weights_index(zoo).read_text())["shards"][::-1]
    )(zoo),
}


@pytest.mark.parametrize("damage", SHARDS.values(), ids=SHARDS)
def test_a_sharded_zoo_with(sharded: Path, tmp_path: Path, damage: Damage) -> None:
    zoo = copy(sharded, tmp_path)
    damage(zoo)
    require_refused(zoo)


# what is no damage


def content(zoo: Path) -> dict[str, Any]:
    """All that a dataset gives."""
    dataset = ZooDataset(zoo, finite=False)
    states = {
        (model, epoch): dataset.state_dict(model, epoch)
        for model, last in zip(dataset.models["id"], dataset.models["last_epoch"], strict=True)
        for epoch in range(last + 1)
    }
    return vars(dataset) | {"weights": dataset.weights, "properties": dataset.properties, "states of models": states}


def link_within(path: Path) -> None:
    (path.parent / "inner").mkdir()
    path.rename(path.parent / "inner" / "file")
    path.symlink_to("inner/file")


HARMLESS: dict[str, Damage] = {
    "nothing": lambda zoo: None,
    "a link within the zoo": lambda zoo: link_within(paths.weights(zoo)),
    "other files": lambda zoo: (zoo / "notes.txt").write_text("notes"),
    "a column more": change_table(paths.metrics, lambda table: table.assign(time=1.0)),
    "more in config.json": change_json(paths.config, "licence", to="CC BY 4.0"),
    "more in architecture.json": change_json(paths.architecture, "input", to=[1, 28, 28]),
    "lines that end as on Windows": lambda zoo: rewrite(lambda text: text.replace(b"\n", b"\r\n"))(paths.models(zoo)),
    "an empty line at the end": lambda zoo: rewrite(lambda text: text + b"\n")(paths.metrics(zoo)),
    "a number written otherwise": model("optim.lr", "1e-3"),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_is_no_damage_is_read_right(whole: Path, tmp_path: Path, change: Damage) -> None:
    zoo = copy(whole, tmp_path)
    change(zoo)
    before, after = content(whole), content(zoo)
    assert torch.equal(before["weights"].nan_to_num(-1), after["weights"].nan_to_num(-1))
    pd.testing.assert_frame_equal(before["properties"], after["properties"])
    pd.testing.assert_frame_equal(before["models"], after["models"])
    assert before["architecture"] == after["architecture"] and before["factors"] == after["factors"]


def test_a_link_to_the_zoo_is_the_zoo(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(whole)
    assert len(ZooDataset(tmp_path / "link")) == 9


def test_names_that_look_like_numbers_are_texts(whole: Path, tmp_path: Path) -> None:
    zoo = copy(whole, tmp_path)
    change_table(paths.models, lambda table: table.assign(node=["007", "1e5", "None", "nan"]))(zoo)
    assert ZooDataset(zoo).models["node"].tolist() == ["007", "1e5", "None", "nan"]


# damage at random

# What can't be told from a whole zoo without checksums, by the file that was damaged: numbers that nothing else in the
# zoo follows from (weights; hyperparameters; losses and validation accuracies before the last epoch, the latter as long
# as they do not exceed the best; digits behind the ninth), names that are as good as the true ones, and the order of
# the factors.
TOLERATED = {
    "config": set(),
    "architecture": {"names"},
    "models": {"node", "variant", "hyperparameters"},
    "metrics": {"losses", "val_acc"},
    "weights": {"weights"},
}


def flip(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def overwrite(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + bytes([draw.choice(b'0123456789,-.\n"[]{}e ')]) + content[place + 1 :]


def cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def lose(content: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randint(1, 20) :]


def clear(content: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(content)), draw.randint(1, 64)
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def swap_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def repeat_line(content: bytes, draw: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([*lines, draw.choice(lines)])


KINDS = (flip, overwrite, cut, lose, clear, swap_lines, repeat_line)
DAMAGEABLE = (paths.config, paths.architecture, paths.models, paths.metrics, paths.weights)


def differences(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """What of a zoo has changed, in the words of TOLERATED where they are there."""
    changed = changed_columns(before["models"], after["models"], tables.MODEL_TYPES)
    changed |= {
        "losses" if column.endswith("loss") else column
        for column in changed_columns(before["states"], after["states"], tables.STATE_TYPES)
    }
    own = [table.drop(columns=list(tables.MODEL_TYPES)) for table in (before["models"], after["models"])]
    if not own[0].equals(own[1]):
        changed.add("hyperparameters")
    if not torch.equal(before["weights"].nan_to_num(-1), after["weights"].nan_to_num(-1)):
        changed.add("weights")
    if before["architecture"] != after["architecture"]:
        same = without_names(before["architecture"]) == without_names(after["architecture"])
        changed.add("names" if same else "architecture")
    if set(before["factors"]) != set(after["factors"]):
        changed.add("factors")
    return changed


def changed_columns(one: pd.DataFrame, other: pd.DataFrame, types: dict[str, type]) -> set[str]:
    def same(column: str) -> bool:
        if types[column] is float:
            return np.allclose(one[column], other[column], rtol=tables.ROUNDING, atol=tables.ROUNDING, equal_nan=True)
        return one[column].equals(other[column])

    return {column for column in types if not same(column)}


def without_names(architecture: Architecture) -> list[Any]:
    tensors = [(entry.layer, entry.kind, entry.shape, entry.dtype, entry.start) for entry in architecture.tensors]
    return [tensors, len(architecture.variants)]


def test_random_damage_is_refused_or_changes_nothing_that_can_be_told(whole: Path, tmp_path: Path) -> None:
    before, zoo, draw = content(whole), copy(whole, tmp_path), random.Random(0)
    refused = 0
    for number in range(200):
        path, kind = draw.choice(DAMAGEABLE), draw.choice(KINDS)
        original = path(whole).read_bytes()
        path(zoo).write_bytes(kind(original, draw))
        try:
            changed = differences(before, content(zoo))
        except ZooError:
            refused += 1
        else:
            assert changed <= TOLERATED[path.__name__], f"{number}: {kind.__name__} of {path.__name__}: {changed}"
        path(zoo).write_bytes(original)
    assert refused > 100

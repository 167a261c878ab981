"""Sweeps that are damaged, or made to do harm: what can be read makes a zoo that opens, the rest is named."""

import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.collation.test_collate import EPOCHS, contents, copied, runs
from tests.conftest import flipped, forget_digests, train_sweep
from tests.run.test_run import assert_same_states
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.collation import runs as collation_runs
from zoo.collation.collate import collate
from zoo.data.images import Images
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.format.record import read_records

pytestmark = pytest.mark.usefixtures("without_drawing")

__all__ = ["copied"]  # the fixture

COMMAND = ["seed=range(0,4)", "model.dropout=0,0.5", f"trainer.max_epochs={EPOCHS}"]  # of the fixture `sweep`
SECRET = "the secret of another user"


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    path.write_text(json.dumps(change(value)))


def change_record(run: Path, epoch: int, **values: Any) -> None:
    lines = paths.result(run).read_text().splitlines()
    lines[epoch] = json.dumps(json.loads(lines[epoch]) | values)
    paths.result(run).write_text("\n".join(lines) + "\n")


def require_zoo_without(run: Path, sweep: Path, zoo: Path) -> str:
    """The zoo has all but this run, opens, and says why: that reason."""
    zoo.mkdir(parents=True)
    missing = collate(sweep, zoo)
    assert missing.keys() == {run.name} and "\n" not in missing[run.name] and str(sweep) not in missing[run.name]
    assert len(ZooDataset(zoo)) == 7 * (EPOCHS + 1)
    assert run.name not in os.listdir(paths.runs(zoo))
    return missing[run.name]


def test_what_is_left_out_is_named_in_the_documents(copied: Path, tmp_path: Path) -> None:
    run, other, *_ = runs(copied)
    change_record(run, 2, test_acc="0.9")
    torch.save([1, 2], paths.checkpoint(other, 1))
    zoo = tmp_path / "zoo"
    missing = make_zoo(copied, zoo)["missing"]
    assert missing.keys() == {run.name, other.name} and len(ZooDataset(zoo)) == 6 * (EPOCHS + 1)
    assert json.loads(paths.summary(zoo).read_text())["missing"] == missing
    assert all(node in paths.readme(zoo).read_text() for node in missing)


def test_where_nothing_is_left_the_reasons_are_counted_and_some_listed(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo.collation.collate.LISTED", 3)
    for run in runs(copied):
        paths.params(run).write_text("")
    with pytest.raises(ZooError) as caught:
        collate(copied, new_folder(tmp_path))
    first, *reasons, last = str(caught.value).splitlines()
    assert first == f"{copied} holds no run to collate, of 8: train it by `python train.py`"
    assert len(reasons) == 3 and last == "  and 5 more"


# no code


def test_nothing_is_imported_or_built(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What params.json names is of no concern: the sweep describes its models."""
    (tmp_path / "acting.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    model = {"_target_": "acting.Net", "given": {"_target_": "os.system", "command": f"touch {tmp_path}/MARK"}}
    for path in copied.glob("*/params.json"):
        change_json(path, lambda params: params | {"config": params["config"] | {"model": model}})
    monkeypatch.setattr(torch.nn.Module, "__init__", None)
    assert collate(copied, new_folder(tmp_path)) == {} and not (tmp_path / "MARK").exists()


def new_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "new"
    folder.mkdir()
    return folder


def test_the_model_s_source_is_the_sweep_s_own(copied: Path, tmp_path: Path) -> None:
    kept = "raise SystemExit('imported')\n" + paths.model_source(copied).read_text()
    paths.model_source(copied).write_text(kept)
    zoo = new_folder(tmp_path)
    collate(copied, zoo)
    assert paths.model_source(zoo).read_text() == kept
    assert Architecture.load(paths.architecture(zoo)) == Architecture.load(paths.architecture(copied))


@pytest.mark.parametrize("file", [paths.architecture, paths.model_source, paths.config])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_file_of_the_sweep_is_one_clear_error(
    copied: Path, tmp_path: Path, file: Callable[[Path], Path], content: bytes
) -> None:
    file(copied).write_bytes(content)
    with pytest.raises(ZooError, match=f"{file(copied)} is damaged") as caught:
        make_zoo(copied, tmp_path / "zoo")
    assert "\n" not in str(caught.value) and not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("search_pattern", []),
        ("search_pattern", {"seed": 3}),
        ("search_pattern", {"id": [1, 2]}),
        ("search_pattern", {"test_acc": [1, 2]}),
        ("search_pattern", {"a\nb": [1, 2]}),
        ("search_pattern", {"\ud800": [1, 2]}),
        ("protocol", []),
        ("protocol", {}),
        *[("trainer.max_epochs", value) for value in (None, "3", True, 0, -1, 3.0, 10**12)],
        *[("data.train", "40"), ("data.size", "28"), ("model", 3), ("data", ["tiny"])],
    ],
)
def test_a_config_of_which_no_zoo_can_be_made(copied: Path, tmp_path: Path, key: str, value: Any) -> None:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        return config | ({key: value} if key in config else {"protocol": config["protocol"] | {key: value}})

    change_json(paths.config(copied), change)
    with pytest.raises(ZooError, match="config.json is damaged"):
        make_zoo(copied, tmp_path / "zoo")


# records and states


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"test_acc": "0.9"}, "line 3 is damaged.*test_acc is '0.9'"),
        ({"test_acc": True}, "line 3 is damaged.*test_acc is True"),
        ({"train_acc": 1.5}, "line 3 is damaged.*train_acc is 1.5"),
        ({"val_acc": None}, "an accuracy is missing that other epochs have"),
        ({"val_loss": float("nan")}, "line 3 is damaged.*NaN is not JSON"),
        ({"val_loss": float("inf")}, "line 3 is damaged.*Infinity is not JSON"),
        ({"train_loss": [1.0]}, r"line 3 is damaged.*train_loss is \[1.0\]"),
        ({"diverged": "no"}, "line 3 is damaged.*diverged is 'no'"),
        ({"training_iteration": 7}, "line 3"),
    ],
)
def test_a_record_that_can_not_be(copied: Path, tmp_path: Path, values: dict[str, Any], message: str) -> None:
    run = runs(copied)[0]
    change_record(run, 2, **values)
    reason = require_zoo_without(run, copied, tmp_path / "zoo")
    assert reason.startswith(f"{run.name}/result.json")
    with pytest.raises(AssertionError, match=message):  # as a pattern
        raise AssertionError(reason)


def test_other_accuracies_than_the_other_models(copied: Path, tmp_path: Path) -> None:
    run = runs(copied)[-1]
    for epoch in range(EPOCHS + 1):
        change_record(run, epoch, val_acc=None, val_loss=None)
    assert "has other accuracies than" in require_zoo_without(run, copied, tmp_path / "zoo")


def test_more_epochs_than_the_sweep_is_to_have(copied: Path, tmp_path: Path) -> None:
    run = runs(copied)[0]
    records = read_records(run)
    with paths.result(run).open("a") as file:
        file.write(json.dumps(records[-1] | {"training_iteration": EPOCHS + 1}) + "\n")
    paths.checkpoint(run, EPOCHS + 1).parent.mkdir()
    shutil.copy(paths.checkpoint(run, EPOCHS), paths.checkpoint(run, EPOCHS + 1))
    assert "it has 5 epochs, of the 4" in require_zoo_without(run, copied, tmp_path / "zoo")


@pytest.mark.parametrize(
    "state",
    [[1, 2], None, 3, "text", {}, {"weight": torch.zeros(3)}, [torch.zeros(3)], {0: torch.zeros(1)}, {"weight": [0.0]}],
    ids=str,
)
def test_a_checkpoint_that_is_no_state(copied: Path, tmp_path: Path, state: Any) -> None:
    run, epoch = runs(copied)[0], 2 if isinstance(state, list) else 0
    forget_digests(run)
    torch.save(state, paths.checkpoint(run, epoch))
    reason = require_zoo_without(run, copied, tmp_path / "zoo")
    assert reason.startswith(f"{run.name}/checkpoint_00000{epoch}/checkpoints is damaged")


@pytest.mark.parametrize("file", [lambda run: paths.checkpoint(run, 1), lambda run: paths.optimizer(run, EPOCHS)])
def test_a_flipped_bit_in_a_tensor(copied: Path, tmp_path: Path, file: Callable[[Path], Path]) -> None:
    run = runs(copied)[0]
    file(run).write_bytes(flipped(file(run).read_bytes()))
    assert require_zoo_without(run, copied, tmp_path / "zoo").startswith(f"{file(run).relative_to(copied)} is damaged")


@pytest.mark.parametrize("file", [lambda run: paths.checkpoint(run, 1), lambda run: paths.optimizer(run, EPOCHS)])
@pytest.mark.usefixtures("without_drawing")
def test_what_is_said_of_a_flipped_bit_mends_it(sweep: Path, tmp_path: Path, file: Callable[[Path], Path]) -> None:
    """The line is followed as it stands: delete the file, then give the command that trained the sweep."""
    copied = shutil.copytree(sweep.parent.parent, tmp_path / "copy") / "sweeps/tiny"
    run = runs(copied)[0]
    file(run).write_bytes(flipped(file(run).read_bytes()))
    told = require_zoo_without(run, copied, tmp_path / "zoo")
    assert told.endswith("Delete it, then give the training command again, which trains what is missing")
    file(run).unlink()
    train_sweep(tmp_path / "copy", *COMMAND)
    assert collate(copied, new_folder(tmp_path)) == {}
    assert_same_states(run, sweep / run.name, EPOCHS)


def test_a_state_of_another_variant_than_the_epochs_before(copied: Path, tmp_path: Path) -> None:
    with_dropout, without = (next(copied.glob(f"*dropout{rate}_*")) for rate in ("0.5", "0"))
    forget_digests(with_dropout)
    shutil.copy(paths.checkpoint(without, 1), paths.checkpoint(with_dropout, 1))
    assert "checkpoint_000001" in require_zoo_without(with_dropout, copied, tmp_path / "zoo")


def test_each_run_has_the_variant_of_its_state(copied: Path, tmp_path: Path) -> None:
    zoo = new_folder(tmp_path)
    collate(copied, zoo)
    dataset = ZooDataset(zoo)
    for row in dataset.models.itertuples():
        state = torch.load(paths.checkpoint(copied / row.node, 3), weights_only=True)
        assert dataset.architecture.variants[row.variant] == list(state)


@pytest.mark.parametrize("name", ["new\nline", "\x1b[31mred", "half\udcff"])
@pytest.mark.usefixtures("without_drawing")
def test_a_run_s_folder_with_a_name_that_steers_a_terminal(copied: Path, tmp_path: Path, name: str) -> None:
    run = runs(copied)[0].rename(copied / name)
    change_json(paths.params(run), lambda params: params | {"node": name})
    summary = make_zoo(copied, tmp_path / "zoo")
    assert name in summary["missing"] and len(ZooDataset(tmp_path / "zoo")) == 28
    assert name not in paths.readme(tmp_path / "zoo").read_text()


@pytest.mark.parametrize("value", ["\ud800", {"a": [1]}, [1, "b"], 10**400, float("nan"), None, "a\rb", '",\n'])
def test_a_factor_of_any_value(copied: Path, tmp_path: Path, value: Any) -> None:
    change_json(paths.params(runs(copied)[0]), lambda params: params | {"seed": value})
    zoo = new_folder(tmp_path)
    missing = collate(copied, zoo)
    assert len(missing) == (value == "\ud800") and len(ZooDataset(zoo)) == 4 * (8 - len(missing))


# links


def link_out(path: Path, secret: Path, content: bytes | None = None) -> None:
    """Put the file elsewhere, or another content there, and a link to it here."""
    secret.parent.mkdir(exist_ok=True)
    secret.write_bytes(content if content is not None else path.read_bytes())
    path.unlink(missing_ok=True)
    path.symlink_to(secret)


def require_nowhere(secret: Path, folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not path.is_symlink(), path
        if path.is_file():
            assert not path.samefile(secret), path
            assert SECRET.encode() not in path.read_bytes(), path


SWEEP_FILES = [paths.config, paths.images, paths.nodes, paths.old_nodes, paths.architecture, paths.model_source]


@pytest.mark.parametrize("file", SWEEP_FILES, ids=lambda file: file.__name__)
@pytest.mark.parametrize("content", [None, SECRET.encode()])
def test_a_sweep_s_file_that_is_a_link_to_elsewhere(
    copied: Path, tmp_path: Path, file: Callable[[Path], Path], content: bytes | None
) -> None:
    if file is paths.old_nodes:
        content = SECRET.encode()
    link_out(file(copied), tmp_path / "home/secret", content)
    with pytest.raises(ZooError, match=f"{file(copied)} leads out of the sweep: put the file itself there"):
        make_zoo(copied, tmp_path / "zoos/zoo")
    assert not (tmp_path / "zoos").exists()


RUN_FILES: dict[str, Callable[[Path], Path]] = {
    "params": paths.params,
    "result": paths.result,
    "first": lambda run: paths.checkpoint(run, 0),
    "last": lambda run: paths.checkpoint(run, EPOCHS),
    "optimizer": lambda run: paths.optimizer(run, EPOCHS),
}


@pytest.mark.parametrize("file", RUN_FILES.values(), ids=RUN_FILES)
@pytest.mark.parametrize("content", [None, SECRET.encode()])
def test_a_run_s_file_that_is_a_link_to_elsewhere(
    copied: Path, tmp_path: Path, file: Callable[[Path], Path], content: bytes | None
) -> None:
    run = runs(copied)[0]
    link_out(file(run), tmp_path / "home/secret", content)
    reason = require_zoo_without(run, copied, tmp_path / "zoo")
    expected = f"{file(run).relative_to(copied)} leads out of the sweep: put the file itself there instead of a link"
    assert reason == expected
    require_nowhere(tmp_path / "home/secret", tmp_path / "zoo")


@pytest.mark.parametrize("level", ["run", "checkpoint"])
def test_a_folder_that_is_a_link_to_elsewhere(copied: Path, tmp_path: Path, level: str) -> None:
    run = runs(copied)[0]
    folder = run if level == "run" else paths.checkpoint(run, 1).parent
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert "leads out of the sweep" in require_zoo_without(run, copied, tmp_path / "zoo")


@pytest.mark.usefixtures("without_drawing")
def test_links_within_the_sweep_become_the_files(copied: Path, tmp_path: Path) -> None:
    run = runs(copied)[0]
    for path in (paths.images(copied), paths.checkpoint(run, 1), paths.params(run)):
        path.rename(path.with_name("kept"))
        path.symlink_to("kept")
    zoo = tmp_path / "zoos/zoo"
    assert make_zoo(copied, zoo)["missing"] == {}
    assert not any(path.is_symlink() for path in zoo.rglob("*"))
    assert len(Images.load(paths.images(zoo)).trainset) == 40
    with zipfile.ZipFile(paths.archive(zoo)) as archive:
        assert archive.read("zoo/dataset.pt") == (copied / "kept").read_bytes()


def test_pipes_and_circles_are_not_waited_for(copied: Path, tmp_path: Path) -> None:
    first, second, third, fourth, *_ = runs(copied)
    paths.optimizer(fourth, EPOCHS).unlink()
    os.mkfifo(paths.optimizer(fourth, EPOCHS))
    paths.result(first).unlink()
    os.mkfifo(paths.result(first))
    paths.checkpoint(second, 1).unlink()
    paths.checkpoint(second, 1).symlink_to("checkpoints")
    paths.params(third).unlink()
    paths.params(third).mkdir()
    assert collate(copied, new_folder(tmp_path)).keys() == {run.name for run in (first, second, third, fourth)}


# images


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "folder"])
def test_damaged_images_are_not_published(copied: Path, tmp_path: Path, damage: str) -> None:
    path = paths.images(copied)
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(ZooError, match="dataset.pt is (damaged|no file)") as caught:
        make_zoo(copied, tmp_path / "zoo")
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "zoo").exists()


@pytest.mark.usefixtures("without_drawing")
def test_what_is_said_of_a_flipped_bit_in_the_images_mends_it(sweep: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(sweep.parent.parent, tmp_path / "copy") / "sweeps/tiny"
    path = paths.images(copied)
    whole = path.read_bytes()
    path.write_bytes(flipped(whole))
    with pytest.raises(ZooError) as caught:
        make_zoo(copied, tmp_path / "zoo")
    assert str(caught.value) == f"{path} is damaged: the command that trained {copied} makes it anew"
    train_sweep(tmp_path / "copy", *COMMAND)
    assert path.read_bytes() == whole and make_zoo(copied, tmp_path / "zoo")["models"] == 8


# while others work


def test_an_optimizer_file_that_vanishes_between_the_look_and_the_link(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As training goes on: it removes the file of the epoch before."""
    link = files.link_or_copy

    def vanishing(source: Path, target: Path) -> None:
        if source.name == paths.optimizer(source, 0).name:
            source.unlink()
        link(source, target)

    monkeypatch.setattr(collation_runs.files, "link_or_copy", vanishing)
    zoo = new_folder(tmp_path)
    assert collate(copied, zoo) == {}
    assert len(ZooDataset(zoo)) == 32 and not list(zoo.rglob("optimizer"))


def test_a_record_that_grows_after_it_was_read(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = runs(copied)[0]
    whole = paths.result(run).read_text()
    paths.result(run).write_text("".join(whole.splitlines(keepends=True)[:2]))
    link = collation_runs.link_run

    def growing(run: Path, copy: Path, epochs: int) -> None:
        if epochs == 2:
            paths.result(run).write_text(whole)
        link(run, copy, epochs)

    monkeypatch.setattr("zoo.collation.runs.link_run", growing)
    zoo = new_folder(tmp_path)
    assert collate(copied, zoo) == {}
    assert len(read_records(paths.runs(zoo) / run.name)) == 2


# any damage


@pytest.mark.parametrize("seed", range(2))
def test_random_damage_makes_a_zoo_that_opens_or_one_clear_error(copied: Path, tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    victims = sorted(path for path in copied.rglob("*") if path.is_file())
    for number in range(12):
        path = draw.choice(victims)
        content = path.read_bytes()
        path.write_bytes(damaged(content, draw))
        zoo = tmp_path / f"new{number}"
        zoo.mkdir()
        try:
            missing = collate(copied, zoo)
        except ZooError as error:
            assert "\n" not in str(error).split("holds no run")[0]
        else:
            assert all("\n" not in reason for reason in missing.values())
            assert len(ZooDataset(zoo).models) + len(missing) >= 8
        path.write_bytes(content)


def damaged(content: bytes, draw: random.Random) -> bytes:
    """One bit flipped, the end cut off, or some bytes of the middle put in other places."""
    if not content:
        return b"\0"
    place = draw.randrange(len(content))
    kind = draw.choice(["flip", "cut", "swap"])
    if kind == "cut":
        return content[:place]
    if kind == "flip":
        return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
    return content[place:] + content[:place]


# the folder of zoos


NAMES = ['"$\\frac{$ <b>bold & | *stars* <img src=x>', "-dash", "new\nline \x1b[31mred", "ü" * 60]


@pytest.mark.parametrize("name", NAMES)
def test_a_zoo_of_any_name(sweep: Path, tmp_path: Path, name: str) -> None:
    zoo = tmp_path / name
    assert make_zoo(sweep, zoo)["models"] == 8
    assert len(ZooDataset(zoo)) == 32 and paths.archive(zoo).exists()
    make_zoo(sweep, zoo)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"{name}.zip"])


@pytest.mark.parametrize(
    ("zoo", "message"),
    [
        ("/", "zoo_dir=/ has no name of its own"),
        (".", "zoo_dir=. has no name of its own"),
        ("..", "zoo_dir=.. has no name of its own"),
        ("x" * 300, "can't be a folder .*File name too long.*: choose another"),
        ("a\0b", "can't be a folder .*null.*: choose another"),
        ("/proc/zoo", "can't write in /proc .*: choose another"),
        ("/dev/null/zoo", "can't write in /dev/null .*: choose another"),
        ("file/zoo", "can't write in .*: choose another"),
        ("file", "file is there and is no zoo: choose another"),
    ],
)
def test_a_place_where_no_zoo_can_be(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zoo: str, message: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("file").touch()
    before = contents(tmp_path)
    with pytest.raises(ZooError, match=message) as caught:
        make_zoo(sweep, Path(zoo))
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("step", ["link_or_copy", "write_text", "write_json"])
def test_a_disk_that_is_full_is_one_clear_error(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(files, step, full)
    with pytest.raises(ZooError, match="No space left on device.*Make room"):
        make_zoo(sweep, tmp_path / "zoos/zoo")
    assert not list((tmp_path / "zoos").iterdir())


@pytest.mark.usefixtures("without_drawing")
def test_what_a_kill_while_zipping_left_is_removed(sweep: Path, tmp_path: Path) -> None:
    """And no older archive lies beside a newer zoo, nor a half zoo beside either."""
    make_zoo(sweep, tmp_path / "zoo")
    leftover = tmp_path / f".{paths.archive(tmp_path / 'zoo').name}.0123abcd.tmp"
    leftover.write_bytes(b"half")
    paths.folder_in_progress(tmp_path / "zoo").mkdir()
    make_zoo(sweep, tmp_path / "zoo")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zoo", "zoo.zip"]


@pytest.mark.usefixtures("without_drawing")
def test_an_older_archive_never_lies_beside_a_newer_zoo(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = tmp_path / "zoos/zoo"
    make_zoo(copied, zoo)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.disk.folders.zip_folder", killed)
    paths.result(runs(copied)[0]).unlink()
    with pytest.raises(KeyboardInterrupt):
        make_zoo(copied, zoo)
    assert len(pd.read_csv(paths.models(zoo))) == 7 and not paths.archive(zoo).exists()

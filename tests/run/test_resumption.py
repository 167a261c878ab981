"""Whatever a power cut does to a run's files, the same command ends with the same states, and says what it did."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import flipped, prepare, train_sweep
from tests.run.test_run import Interruption, assert_same_states
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format.record import read_records
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.run.recorder import Recorder
from zoo.run.resumption import from_common_epochs
from zoo.run.run import train

COMMAND = ["seed=0", "model.dropout=0.5", "trainer.max_epochs=3"]  # one of the fixture `sweep`


def middle_line(content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    return b"".join([lines[0], lines[1][:50], b"\n", *lines[2:]])


TEARS: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[:-30],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "flipped": flipped,
}


def save_until(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training end as if it was killed when an epoch has been saved."""
    save = Recorder.save

    def dying(self: Recorder, pack: object) -> None:
        save(self, pack)
        if pack.epoch == epoch:
            raise Interruption

    monkeypatch.setattr(Recorder, "save", dying)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of one run, killed after epoch 2 of 3. Read it; write elsewhere."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Interruption):
        save_until(2, monkeypatch)
        train_sweep(folder, *COMMAND)
    return folder


def the_run(folder: Path) -> Path:
    [params] = folder.glob("sweeps/tiny/*/params.json")
    return params.parent


def last(path: Callable[[Path, int], Path], epoch: int = 2) -> Callable[[Path], Path]:
    return lambda run: path(run, epoch)


@pytest.mark.parametrize("how", TEARS)
@pytest.mark.parametrize("name", ["checkpoint", "optimizer"])
def test_a_torn_last_epoch_is_trained_again(
    interrupted: Path, sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    run = the_run(shutil.copytree(interrupted, tmp_path / "copy"))
    path = getattr(paths, name)(run, 2)
    path.write_bytes(TEARS[how](path.read_bytes()))
    train_sweep(tmp_path / "copy", *COMMAND)
    assert f"{run} goes on from epoch 1: {path} is missing or damaged" in capsys.readouterr().err
    assert_same_states(run, sweep / run.name, epochs=3)


@pytest.mark.parametrize(
    ("tear", "place", "reason"),
    [
        (lambda content: content[:-30], "goes on from epoch 1", "line 3 is damaged"),
        (lambda content: content + b"garbage", "goes on from epoch 2", "line 4 is damaged"),
        (lambda content: content + bytes(4000), "goes on from epoch 2", "line 4 is damaged"),
        (middle_line, "begins again", "line 2 is damaged"),
        (lambda content: bytes(len(content)), "begins again", "line 1 is damaged"),
        (lambda content: b"", "begins again", "is empty"),
    ],
)
def test_torn_records(
    interrupted: Path,
    sweep: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tear: Callable[[bytes], bytes],
    place: str,
    reason: str,
) -> None:
    run = the_run(shutil.copytree(interrupted, tmp_path / "copy"))
    path = paths.result(run)
    path.write_bytes(tear(path.read_bytes()))
    train_sweep(tmp_path / "copy", *COMMAND)
    output = capsys.readouterr().err
    assert f"{run} {place}: " in output and reason in output
    assert_same_states(run, sweep / run.name, epochs=3)
    assert [record["training_iteration"] for record in read_records(run)] == [0, 1, 2, 3]


@pytest.mark.parametrize("how", ["cut", "empty", "zeros"])
@pytest.mark.parametrize("name", ["params", "environment"])
def test_what_the_command_knows_is_written_anew(
    interrupted: Path, sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    run = the_run(shutil.copytree(interrupted, tmp_path / "copy"))
    path = getattr(paths, name)(run)
    path.write_bytes(TEARS[how](path.read_bytes()))
    train_sweep(tmp_path / "copy", *COMMAND)
    assert f"{path} is damaged" in capsys.readouterr().err
    assert_same_states(run, sweep / run.name, epochs=3)
    if name == "params":
        assert path.read_bytes() == paths.params(sweep / run.name).read_bytes()


@pytest.mark.parametrize("how", ["cut", "flipped"])
@pytest.mark.parametrize("name", ["checkpoint", "result"])
def test_a_finished_run_that_is_torn_is_trained_again(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    folder = shutil.copytree(sweep.parent.parent, tmp_path / "copy")
    run = a_run(folder)
    path = paths.result(run) if name == "result" else getattr(paths, name)(run, 3)
    path.write_bytes(b"" if name == "result" else TEARS[how](path.read_bytes()))
    train_sweep(folder, *COMMAND)
    assert f"{run} begins again" in capsys.readouterr().err
    assert_same_states(run, sweep / run.name, epochs=3)
    assert paths.optimizers(run) == [paths.optimizer(run, 3)]


@pytest.mark.parametrize(("how", "epoch"), [("missing", 1), ("empty", 1), ("cut", 0), ("cut", 1), ("longer", 2)])
def test_a_finished_run_without_one_of_its_states_is_trained_again(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str, epoch: int
) -> None:
    run = a_run(shutil.copytree(sweep.parent.parent, tmp_path / "copy"))
    path = paths.checkpoint(run, epoch)
    content = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes({"empty": b"", "cut": content[:-1], "longer": content + b"0"}[how])
    train_sweep(tmp_path / "copy", *COMMAND)
    assert f"{run} begins again: {path} is missing or damaged" in capsys.readouterr().err
    assert_same_states(run, sweep / run.name, epochs=3)


def test_a_state_that_another_version_of_pytorch_wrote_is_no_damage(sweep: Path, tmp_path: Path) -> None:
    run = a_run(shutil.copytree(sweep.parent.parent, tmp_path / "copy"))
    records = [json.loads(line) for line in paths.result(run).read_text().splitlines()]
    torch.save(torch.load(paths.checkpoint(run, 1)), paths.checkpoint(run, 1), _use_new_zipfile_serialization=False)
    records[1]["state_sha256"] = files.sha256(paths.checkpoint(run, 1).read_bytes())
    paths.result(run).write_text("".join(json.dumps(record) + "\n" for record in records))
    before = paths.checkpoint(run, 1).read_bytes()
    train_sweep(tmp_path / "copy", *COMMAND)
    assert paths.checkpoint(run, 1).read_bytes() == before


@pytest.mark.parametrize("how", TEARS)
def test_a_finished_run_stays_finished_without_its_optimizer_state(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    run = a_run(shutil.copytree(sweep.parent.parent, tmp_path / "copy"))
    path = paths.optimizer(run, 3)
    path.write_bytes(TEARS[how](path.read_bytes()))
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*") if file.is_file() and file != path}
    train_sweep(tmp_path / "copy", *COMMAND)
    assert (
        f"{run} is finished, but its checkpoint_000003/optimizer was damaged, and is removed" in capsys.readouterr().err
    )
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*") if file.is_file()} == before
    train_sweep(tmp_path / "copy", *COMMAND)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("how", ["missing", "cut", "flipped"])
def test_more_epochs_begin_where_an_optimizer_state_is_whole(
    interrupted: Path, sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    folder = shutil.copytree(interrupted, tmp_path / "copy")
    run = the_run(folder)
    older = paths.optimizer(run, 2).read_bytes()
    train_sweep(folder, *COMMAND)
    path = paths.optimizer(run, 3)
    content = path.read_bytes()
    for kept, place in ((True, "goes on from epoch 2"), (False, "begins again")):
        path.unlink() if how == "missing" else path.write_bytes(TEARS[how](content))
        if kept:
            paths.optimizer(run, 2).write_bytes(older)
        epochs = 4 if kept else 5
        capsys.readouterr()
        train_sweep(folder, *COMMAND[:2], f"trainer.max_epochs={epochs}")
        why = "is missing or damaged" + ("" if kept else ", and no older one is kept")
        assert f"{run} {place}: {path} {why}\n" in capsys.readouterr().err
        assert len(read_records(run)) == epochs + 1
        assert_same_states(run, sweep / run.name, epochs=3)
        path = paths.optimizer(run, 4)


def a_run(folder: Path) -> Path:
    """The one of COMMAND in a copy of the fixture `sweep`."""
    [run] = (folder / "sweeps/tiny").glob("*dropout0.5_seed0_*")
    return run


def test_in_training_two_optimizer_states_are_kept_and_at_the_end_one(interrupted: Path, sweep: Path) -> None:
    run = the_run(interrupted)
    assert paths.optimizers(run) == [paths.optimizer(run, 1), paths.optimizer(run, 2)]
    twin = sweep / run.name
    assert paths.optimizers(twin) == [paths.optimizer(twin, 3)]


def test_older_optimizer_states_that_a_killed_process_left_are_removed(
    interrupted: Path, sweep: Path, tmp_path: Path
) -> None:
    run = the_run(shutil.copytree(interrupted, tmp_path / "copy"))
    shutil.copyfile(paths.optimizer(run, 1), paths.optimizer(run, 0))
    train_sweep(tmp_path / "copy", *COMMAND)
    assert paths.optimizers(run) == [paths.optimizer(run, 3)]
    shutil.copyfile(paths.optimizer(run, 3), paths.optimizer(run, 2))  # killed as it finished
    train_sweep(tmp_path / "copy", *COMMAND)
    assert paths.optimizers(run) == [paths.optimizer(run, 3)]


def test_a_pack_goes_on_from_the_last_epoch_that_all_its_members_have(
    grid: Callable[..., Grid],
    sweep: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nodes = prepare(grid(f"sweeps={tmp_path}", f"data.cache={tmp_path}", "seed=range(0,4)", *COMMAND[1:]))
    with monkeypatch.context() as patched, pytest.raises(Interruption):
        save_until(2, patched)
        train(nodes, paths.images(nodes[0].sweep))
    torn = nodes[2]
    paths.optimizer(torn.run, 2).write_bytes(b"")
    assert [(epoch, len(members)) for epoch, members in from_common_epochs(nodes)] == [(1, 4)]
    train(nodes, paths.images(nodes[0].sweep))
    for node in nodes:
        assert_same_states(node.run, sweep / node.name, epochs=3)
        assert paths.optimizers(node.run) == [paths.optimizer(node.run, 3)]
    assert capsys.readouterr().err.count("goes on from epoch 1") >= 1


def test_a_member_that_must_begin_again_does_so_alone(interrupted: Path, tmp_path: Path) -> None:
    nodes = [Stub(shutil.copytree(the_run(interrupted), tmp_path / str(number))) for number in range(3)]
    for epoch in (1, 2):
        paths.optimizer(nodes[1].run, epoch).unlink()
    assert from_common_epochs(nodes) == [(0, [nodes[1]]), (2, [nodes[0], nodes[2]])]


class Stub(Node):
    """A node of which only the run matters."""

    def __init__(self, run: Path):
        vars(self)["run"] = run


@pytest.mark.parametrize(
    "path",
    [
        paths.params,
        paths.result,
        paths.environment,
        last(paths.checkpoint),
        last(paths.optimizer),
        last(paths.checkpoint, 9),
    ],
)
def test_a_link_out_of_the_run_is_refused(interrupted: Path, tmp_path: Path, path: Callable[[Path], Path]) -> None:
    run = the_run(shutil.copytree(interrupted, tmp_path / "copy"))
    place = path(run)
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        place.rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "elsewhere").write_bytes(b"precious")
    place.symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    with pytest.raises(ZooError, match=f"{place} is a symbolic link out of {run}"):
        train_sweep(tmp_path / "copy", *COMMAND)
    assert (tmp_path / "elsewhere").read_bytes() == before and place.is_symlink()

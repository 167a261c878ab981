"""Zoos that were damaged in every kind of file: each damage is one finding, of that file."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from tests.conftest import flipped, forget_digests
from tests.typed import zoo_command
from zoo import ZooDataset
from zoo.curation.archive import verify_archive
from zoo.curation.open_zoo import OpenZoo
from zoo.curation.verification import verify
from zoo.disk import files, paths
from zoo.disk.folders import zip_folder
from zoo.errors import ZooError
from zoo.format import binary_tables, manifest
from zoo.format.architecture import Architecture
from zoo.format.record import read_records

Damage = Callable[[Path], object]


def copied(zoo: Path, folder: Path) -> Path:
    """Without its zip file."""
    return shutil.copytree(zoo, folder / "zoo")


def findings(zoo: Path) -> list[str]:
    return [str(finding) for finding in verify(zoo).findings.found]


def a_run(zoo: Path) -> Path:
    return sorted(paths.runs(zoo).iterdir())[0]


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2) + "\n")


def edit_table(path: Path, row: int, column: str, value: object) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[row, column] = str(value)
    table.to_csv(path, index=False)


def edit_record(run: Path, epoch: int, **values: object) -> None:
    records = read_records(run)
    records[epoch] |= values
    paths.result(run).write_text("".join(json.dumps(record) + "\n" for record in records))


def edit_weights(zoo: Path, change: Callable[[np.ndarray], object]) -> None:
    tensors = load_file(paths.weights(zoo))
    change(tensors["weights"])
    save_file(tensors, paths.weights(zoo))


def test_a_whole_zoo_has_no_finding(zoo: Path) -> None:
    done = verify(zoo)
    assert done.findings.found == []
    assert done.files == len(manifest.read(zoo)) + 1
    assert len(done.sound) == 8 and done.sound[0].records is not None and len(done.sound[0].records) == 4


FLIPPED = [
    *(paths.readme, paths.licence, paths.citation, paths.config, paths.nodes, paths.images, paths.model_source),
    *(paths.architecture, paths.index_dict, paths.models, paths.metrics, paths.weights, paths.summary),
    *(paths.accuracy_by_factor, paths.accuracy_over_epochs, paths.final_accuracy),
    *(lambda zoo: paths.params(a_run(zoo)), lambda zoo: paths.result(a_run(zoo))),
    *(lambda zoo: paths.environment(a_run(zoo)), lambda zoo: paths.checkpoint(a_run(zoo), 0)),
    *(lambda zoo: paths.checkpoint(a_run(zoo), 2), lambda zoo: paths.optimizer(a_run(zoo), 3)),
]


@pytest.mark.parametrize("place", FLIPPED, ids=lambda place: place.__name__)
def test_a_flipped_bit_is_one_finding_of_that_file(zoo: Path, tmp_path: Path, place: Callable[[Path], Path]) -> None:
    copy = copied(zoo, tmp_path)
    path = place(copy)
    path.write_bytes(flipped(path.read_bytes()))
    assert findings(copy) == [f"{path.relative_to(copy)} has changed: its sha256 is not the one in SHA256SUMS"]


def test_every_bit_counts_also_in_the_headers(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    for path in (paths.weights(copy), paths.models(copy), paths.architecture(copy), paths.checkpoint(a_run(copy), 1)):
        content = path.read_bytes()
        for place in (0, 9, len(content) - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert [line.split()[0] for line in findings(copy)] == [str(path.relative_to(copy))]
        path.write_bytes(content)
    assert findings(copy) == []


def sums_of(copy: Path, change: Callable[[str], str]) -> None:
    path = paths.checksums(copy)
    path.write_text(change(path.read_text()))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda zoo: paths.readme(zoo).unlink(), "README.md is missing"),
        (lambda zoo: paths.checkpoint(a_run(zoo), 2).unlink(), "RUN/checkpoint_000002/ is missing"),
        (lambda zoo: paths.optimizer(a_run(zoo), 3).unlink(), "RUN/checkpoint_000003/optimizer is missing"),
        (lambda zoo: shutil.rmtree(a_run(zoo)), "RUN/ is missing, with 8 files"),
        (lambda zoo: paths.weights(zoo).unlink(), "weights.safetensors is missing"),
        (lambda zoo: files.write_text(zoo / "new.txt", ""), "new.txt is foreign: not in SHA256SUMS"),
        (lambda zoo: files.write_text(zoo / "__pycache__/model.pyc", ""), "__pycache__/ is foreign: not in SHA256SUMS"),
        (
            lambda zoo: [files.write_text(zoo / "models/new" / name, "") for name in "ab"],
            "models/new/ is foreign: not in SHA256SUMS, with 2 files",
        ),
        (
            lambda zoo: sums_of(zoo, lambda text: "0" * 64 + text[64:]),
            "CITATION.cff has changed: its sha256 is not the one in SHA256SUMS",
        ),
        (lambda zoo: sums_of(zoo, lambda text: text.partition("\n")[2]), "CITATION.cff is foreign: not in SHA256SUMS"),
        (lambda zoo: sums_of(zoo, lambda text: text[1:]), "SHA256SUMS is damaged (line 1 is no checksum of a file"),
        (lambda zoo: paths.checksums(zoo).unlink(), "SHA256SUMS is missing: get the zoo anew"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_missing_or_foreign_is_one_finding(zoo: Path, tmp_path: Path, damage: Damage, expected: str) -> None:
    copy = copied(zoo, tmp_path)
    run = str(a_run(copy).relative_to(copy))
    if "000002/" in expected:
        paths.checkpoint(a_run(copy), 2).unlink()
        paths.checkpoint(a_run(copy), 2).parent.rmdir()
    else:
        damage(copy)
    [finding] = findings(copy)
    assert finding.startswith(expected.replace("RUN", run))


def test_a_checksum_of_a_state_that_its_record_contradicts_is_at_fault_itself(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    state = str(paths.checkpoint(a_run(copy), 1).relative_to(copy))
    sums_of(copy, lambda text: text.replace(manifest.read(copy)[state], "0" * 64))
    assert findings(copy) == [f"SHA256SUMS says another sha256 of {state} than the file and its record have"]


def test_links_are_not_followed(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    (tmp_path / "elsewhere").write_bytes(paths.readme(copy).read_bytes())
    paths.readme(copy).unlink()
    paths.readme(copy).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "run").mkdir()
    os.symlink(tmp_path / "run", copy / "models/linked")
    os.mkfifo(copy / "pipe")
    assert findings(copy) == [
        "README.md is a link or no file, and was not looked at",
        "models/linked is a link or no file, and was not looked at",
        "pipe is a link or no file, and was not looked at",
    ]


def row_of(zoo: Path, run: Path) -> int:
    return int((pd.read_csv(paths.models(zoo))["node"] == run.name).argmax())


CONTRADICTIONS: list[tuple[Damage, str]] = [
    (lambda zoo: edit_table(paths.models(zoo), 5, "seed", 7), "models.csv says that seed of node "),
    (lambda zoo: edit_table(paths.models(zoo), 5, "init", "normal"), "models.csv says that init of node "),
    (lambda zoo: edit_table(paths.models(zoo), 5, "optim.lr", ""), "models.csv says that optim.lr of node "),
    (lambda zoo: edit_table(paths.models(zoo), 1, "status", "unfinished"), "models.csv is damaged"),
    (lambda zoo: edit_table(paths.models(zoo), 1, "best_epoch", 9), "models.csv is damaged"),
    (lambda zoo: edit_table(paths.models(zoo), 0, "variant", 1), "models.csv says that the variant of "),
    (
        lambda zoo: edit_table(paths.metrics(zoo), 6, "val_loss", 1.25),
        "metrics.csv says that val_loss of id 1 at epoch 2",
    ),
    (
        lambda zoo: edit_table(paths.metrics(zoo), 5, "train_loss", ""),
        "metrics.csv says that train_loss of id 1 at epoch 1",
    ),
    (
        lambda zoo: edit_json(paths.config(zoo), lambda config: config.update(models=7)),
        "config.json says that there are 7",
    ),
    (
        lambda zoo: edit_json(paths.config(zoo), lambda config: config["search_pattern"]["seed"].append(9)),
        "config.json has a search_pattern with other values of seed",
    ),
    (
        lambda zoo: edit_json(paths.config(zoo), lambda config: config["protocol"].update({"optim.lr": 0.5})),
        "config.json says that optim.lr of ",
    ),
    (
        lambda zoo: edit_json(paths.config(zoo), lambda config: config.update(images="0" * 64)),
        "dataset.pt has other images than those whose digest config.json has",
    ),
    (
        lambda zoo: edit_json(paths.index_dict(zoo), lambda index: index["idx_start"].append(1)),
        "index_dict.json contradicts",
    ),
    (
        lambda zoo: edit_json(paths.summary(zoo), lambda summary: summary.update(states=31)),
        "analysis/summary.json has another",
    ),
    (
        lambda zoo: edit_json(paths.summary(zoo), lambda summary: summary["accuracy"]["test"].update(mean=0.75)),
        "analysis/summary.json has another `accuracy`",
    ),
    (
        lambda zoo: edit_json(paths.summary(zoo), lambda summary: summary["missing"].update({"x": "y"})),
        "analysis/summary.json names other missing models",
    ),
    (
        lambda zoo: edit_table(paths.accuracy_by_factor(zoo), 0, "mean", 0.25),
        "analysis/accuracy_by_factor.csv does not",
    ),
    (lambda zoo: paths.model_source(zoo).write_text("x = 1\n"), "model.py is no Python source with a function `build`"),
    (lambda zoo: edit_table(paths.nodes(zoo), 0, "seed", 3), "nodes.csv says that seed of "),
    (
        lambda zoo: edit_record(a_run(zoo), 1, state_sha256="0" * 64),
        "RUN/result.json has a record of checkpoint_000001/",
    ),
    (
        lambda zoo: edit_record(a_run(zoo), 3, optimizer_sha256="0" * 64),
        "RUN/result.json has a record of checkpoint_000003/",
    ),
    (lambda zoo: edit_record(a_run(zoo), 1, val_acc=2), "RUN/result.json has a line 2 that is no record of epoch 1"),
    (lambda zoo: edit_record(a_run(zoo), 1, val_acc=0.125), "metrics.csv says that val_acc of id "),
    (lambda zoo: paths.params(a_run(zoo)).write_text("{}"), "RUN/params.json has no parameters of "),
    (
        lambda zoo: edit_weights(zoo, lambda weights: flip(weights, 6, 2)),
        "weights.safetensors has other numbers for epoch 2",
    ),
    (
        lambda zoo: shutil.copy(paths.checkpoint(a_run(zoo), 1), paths.checkpoint(a_run(zoo), 2)),
        "weights.safetensors has other numbers for epoch 2",
    ),
    (
        lambda zoo: shutil.copytree(a_run(zoo) / "checkpoint_000001", a_run(zoo) / "checkpoint_000004"),
        "RUN/checkpoint_000004/checkpoints is of no epoch of RUN/result.json",
    ),
    (
        lambda zoo: files.write_text(zoo / "models/x/params.json", ""),
        "models/x/params.json is of no model of models.csv",
    ),
]


def flip(weights: np.ndarray, model: int, epoch: int) -> None:
    """The last bit of one number."""
    weights.view(np.uint32)[model, epoch, 100] ^= 1


@pytest.mark.parametrize(("damage", "expected"), CONTRADICTIONS, ids=[expected for _, expected in CONTRADICTIONS])
def test_what_contradicts_the_rest_is_found_where_checksums_were_made_anew(
    zoo: Path, tmp_path: Path, damage: Damage, expected: str
) -> None:
    copy = copied(zoo, tmp_path)
    if "has other numbers for epoch 2" in expected:
        for run in paths.runs(copy).iterdir():  # or the records would tell
            forget_digests(run)
    damage(copy)
    anew(copy)
    found, name = findings(copy), str(a_run(copy).relative_to(copy))
    assert len(found) == 1 or expected.startswith(("nodes.csv", "models.csv says that the variant", "metrics.csv")), (
        found
    )
    assert any(finding.startswith(expected.replace("RUN", name)) for finding in found), found


def anew(copy: Path) -> None:
    """Checksums of all files as they are now, whatever records say."""
    names = manifest.names_in(copy)
    sums = "".join(manifest.line(name, manifest.sha256_of(copy / name)) for name in names)
    paths.checksums(copy).write_text(sums)


def test_a_zip_file_is_compared_with_the_folder(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    archive = paths.archive(copy)
    shutil.copy(paths.archive(zoo), archive)
    assert findings(copy) == []
    assert verify_archive(archive) == ([], len(manifest.read(copy)))
    damaged = tmp_path / "changed.zip"
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(damaged, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith("LICENSE"):
                content += b"!"
            if not info.filename.endswith("nodes.csv"):
                new.writestr(info.filename, content)
        new.writestr("tiny/foreign", b"")
    damaged.replace(archive)
    expected = [
        "zoo.zip/tiny/nodes.csv is missing",
        "zoo.zip/tiny/foreign is foreign: not in the checksums",
        "zoo.zip/tiny/LICENSE has changed: its sha256 is not the one in the checksums",
    ]
    assert findings(copy) == expected
    assert [str(finding) for finding in verify_archive(archive)[0]] == expected


def test_a_flipped_bit_in_the_zip_file_is_found(zoo: Path, tmp_path: Path) -> None:
    archive = tmp_path / "x.zip"
    content = paths.archive(zoo).read_bytes()
    archive.write_bytes(flipped(content))
    [finding] = verify_archive(archive)[0]
    assert "x.zip/tiny/" in str(finding)
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(ZooError, match=f"{archive} (can't be read as a zip file|has no folder with SHA256SUMS)"):
        verify_archive(archive)


def test_a_compact_zoo_is_checked_by_its_records(compact: Path, tmp_path: Path) -> None:
    copy = copied(compact, tmp_path)
    assert findings(copy) == []
    assert len(verify(copy).sound) == 8
    edit_weights(copy, lambda weights: flip(weights, 6, 2))
    anew(copy)
    [finding] = findings(copy)
    assert finding.startswith("weights.safetensors has other numbers than those whose sha256 the record has of epoch 2")


def test_a_flipped_bit_of_a_compact_zoo_is_one_finding(compact: Path, tmp_path: Path) -> None:
    copy = copied(compact, tmp_path)
    for path in (paths.runs_archive(copy), paths.weights(copy)):
        content = path.read_bytes()
        path.write_bytes(flipped(content))
        assert findings(copy) == [f"{path.name} has changed: its sha256 is not the one in SHA256SUMS"]
        path.write_bytes(content)


def test_the_command_says_what_it_found(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = copied(zoo, tmp_path)
    paths.licence(copy).write_text("mine")
    assert zoo_command(monkeypatch, "verify", copy) == 1
    told = capsys.readouterr()
    assert told.out == "LICENSE has changed: its sha256 is not the one in SHA256SUMS\n"
    assert told.err.splitlines()[-1] == f"{copy}: {len(manifest.read(zoo)) + 1} files; 1 finding"
    assert not zoo_command(monkeypatch, "verify", zoo) and capsys.readouterr().out == ""
    assert "is no zoo" in str(zoo_command(monkeypatch, "verify", tmp_path))


def test_binary_tables_are_compared_with_the_text(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copied(zoo, tmp_path)
    monkeypatch.setattr(binary_tables, "LARGE", 5)
    variants = len(Architecture.load(paths.architecture(copy)).variants)
    binary_tables.write(copy, 4, variants)
    anew(copy)
    assert not findings(copy)
    texts = [path.read_bytes() for path in (paths.models(copy), paths.metrics(copy))]
    both = {"models": ZooDataset(copy).models.assign(seed=7), "states": ZooDataset(copy).states}
    paths.binary_tables(copy).write_bytes(binary_tables.packed(both, *texts))
    anew(copy)
    assert findings(copy) == ["tables.safetensors has another table of models than the text beside it"]
    paths.binary_tables(copy).write_bytes(binary_tables.packed(both, b"", b""))
    anew(copy)
    assert findings(copy) == ["tables.safetensors is of other tables than the texts beside it"]


@pytest.fixture
def small_zip(tmp_path: Path) -> Path:
    """Packed as a zoo is, with the least in it that has checksums."""
    folder = tmp_path / "small"
    files.write_text(folder / "a.txt", "a\n" * 50)
    files.write_text(folder / "inner" / "b", "b")
    manifest.write(folder)
    zip_folder(folder, tmp_path / "small.zip")
    return tmp_path / "small.zip"


def test_every_byte_of_a_zip_file_counts_but_those_of_permissions(small_zip: Path) -> None:
    """And but for those by which the same content can be compressed in more than one way."""
    assert verify_archive(small_zip) == ([], 2)
    content = small_zip.read_bytes()
    unseen = []
    for place in range(len(content)):
        small_zip.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            if not verify_archive(small_zip)[0]:
                unseen.append(place)
        except ZooError:
            pass  # is as good
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        entry, free = file.start_dir, set[int]()
        for info in file.infolist():
            free |= {entry + 36, entry + 40, entry + 41}  # whether it is text; who may read it
            entry += 46 + len(info.filename)
            begin = info.header_offset + 30 + len(info.filename)
            if info.filename.endswith(".txt"):
                free |= set(range(begin, begin + info.compress_size))
    assert set(unseen) <= free and len(unseen) < 12


@pytest.mark.parametrize("what", ["behind", "before", "folder"])
def test_what_a_zip_file_has_beside_its_files_is_found(small_zip: Path, what: str) -> None:
    content = small_zip.read_bytes()
    small_zip.write_bytes({"behind": content + b"more", "before": b"more" + content, "folder": content}[what])
    if what == "folder":
        with zipfile.ZipFile(small_zip, "a") as archive:
            archive.writestr("small/empty/", b"")
    expected = {"behind": "small.zip has other bytes behind", "before": "begins at byte 4", "folder": "small/empty/ is"}
    assert any(expected[what] in str(finding) for finding in verify_archive(small_zip)[0])


def test_empty_folders_are_found(zoo: Path, tmp_path: Path) -> None:
    copy = copied(zoo, tmp_path)
    (copy / "models" / "new" / "inner").mkdir(parents=True)
    assert findings(copy) == ["models/new/inner/ is foreign: an empty folder"]


@pytest.mark.parametrize("place", [paths.config, paths.models])
def test_a_zoo_without_its_tables_is_still_a_zoo(zoo: Path, tmp_path: Path, place: Callable[[Path], Path]) -> None:
    copy = copied(zoo, tmp_path)
    place(copy).unlink()
    assert findings(copy) == [f"{place(copy).name} is missing"]
    with pytest.raises(ZooError, match=f"{place(copy)} is missing: get the zoo anew"):
        OpenZoo.of(copy)

"""SHA256SUMS, beside what `sha256sum` writes and checks."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import forget_digests
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.format import manifest

SHA256SUM = pytest.mark.skipif(shutil.which("sha256sum") is None, reason="the command is not installed")
SUM = "0" * 64
ODD = ["plain", " a b ", "back\\slash", "new\nline", "ümlaut", "sub/fol der/x", "*star", "-dash"]


def checked(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sha256sum", "--strict", "--check", paths.checksums(folder).name], cwd=folder, capture_output=True, text=True
    )


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    for name in ODD:
        files.write_bytes(tmp_path / "zoo" / name, name.encode())
    manifest.write(tmp_path / "zoo")
    return tmp_path / "zoo"


@SHA256SUM
def test_the_command_checks_a_zoo(zoo: Path) -> None:
    done = checked(zoo)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(manifest.names_in(zoo)) == len(manifest.read(zoo))


@SHA256SUM
def test_the_command_reads_odd_names(odd: Path) -> None:
    assert checked(odd).returncode == 0
    (odd / "new\nline").write_bytes(b"another")
    assert checked(odd).returncode == 1


@SHA256SUM
def test_names_are_escaped_as_the_command_does(odd: Path) -> None:
    for name in ODD:
        done = subprocess.run(["sha256sum", "--", name], cwd=odd, capture_output=True, text=True, check=True)
        assert manifest.line(name, hashlib.sha256(name.encode()).hexdigest()) == done.stdout


def test_a_carriage_return_is_escaped_as_the_newest_versions_of_the_command_do() -> None:
    assert manifest.line("a\rb", SUM) == f"\\{SUM}  a\\rb\n"
    assert manifest.parsed(Path("SHA256SUMS"), manifest.line("a\rb", SUM).encode()) == {"a\rb": SUM}


def test_what_is_written_is_read_in_the_same_order(odd: Path) -> None:
    sums = manifest.read(odd)
    assert sums == {name: hashlib.sha256(name.encode()).hexdigest() for name in ODD}
    assert list(sums) == manifest.names_in(odd)
    before = paths.checksums(odd).read_bytes()
    manifest.write(odd)
    assert paths.checksums(odd).read_bytes() == before


def test_states_have_the_digests_of_their_records(zoo: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    known = manifest.recorded(copy)
    assert len(known) == 8 * 4 * 2  # every state, and an optimizer state that was kept or not
    assert manifest.read(copy).items() & known.items() == {
        (name, manifest.sha256_of(copy / name)) for name in known if (copy / name).exists()
    }
    for run in paths.runs(copy).iterdir():  # as version 0.1.0 left them: then the files themselves are read
        forget_digests(run)
    before = manifest.read(copy)
    manifest.write(copy)
    assert manifest.recorded(copy) == {}
    changed = {name for name, digest in manifest.read(copy).items() if before[name] != digest}
    assert changed == {str(paths.result(run).relative_to(copy)) for run in paths.runs(copy).iterdir()}


@pytest.mark.parametrize(
    "content",
    [
        f"{SUM}  ../outside\n",
        f"{SUM}  /etc/passwd\n",
        f"{SUM}  a/../../b\n",
        f"{SUM}  a//b\n",
        f"{SUM}  ./a\n",
        f"{SUM}  a\n{SUM}  a\n",
        f"{SUM[1:]}  a\n",
        f"{SUM} a\n",
        f"{SUM.replace('0', 'G')}  a\n",
        f"{SUM}  a",
        f"{SUM}  a\0b\n",
        f"{SUM}  \n",
        "nothing\n",
    ],
    ids=ascii,
)
def test_a_line_that_is_no_checksum_of_a_file_in_the_zoo_is_refused(tmp_path: Path, content: str) -> None:
    paths.checksums(tmp_path).write_text(content)
    with pytest.raises(ZooError, match=f"{paths.checksums(tmp_path)} is damaged"):
        manifest.read(tmp_path)


def test_the_readme_names_the_checksums(zoo: Path) -> None:
    assert "| `SHA256SUMS` |" in paths.readme(zoo).read_text()

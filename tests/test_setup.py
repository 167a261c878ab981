"""Building the kernels, and the package with them."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import backend
import compiler
import pytest

from tests.engines.test_processor import LISTS_FLAGS, best_of_kernels, best_of_linux
from zoo import ZooDataset
from zoo.engines.lanes import sources
from zoo.engines.lanes.library import VARIANTS

ROOT = Path(__file__).parent.parent
PACKAGED = (
    *("build_backend", "conf", "hydra_plugins", "zoo"),
    *("LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"),
)
X86 = os.uname().machine == "x86_64"
HAS_COMPILER = pytest.mark.skipif(not compiler.found(), reason="there is no compiler")


def build(to: Path, flags: str) -> Path:
    """The folder of the built package, a wheel's content. A variant that doesn't compile is missing there."""
    command = [sys.executable, "setup.py", "build", "--build-base", str(to), "--build-lib", str(to / "lib")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"KERNEL_FLAGS": flags}, capture_output=True, text=True, check=True
    )
    print(done.stderr)  # what the compiler says, shown where the test fails
    return to / "lib" / "zoo" / "engines" / "lanes"


def assert_built(package: Path) -> None:
    built = {path.name for path in package.glob("_lanes_*.so")}
    assert "_lanes_portable.so" in built
    if X86:
        assert built == {f"_lanes_{variant}.so" for variant in VARIANTS}
    assert (package / sources.RECORD).exists()
    assert sources.expected(package) == sources.digest(ROOT / "zoo" / "engines" / "lanes" / sources.SOURCES)


@pytest.mark.slow
@HAS_COMPILER
def test_kernels_compile_without_a_warning(tmp_path: Path) -> None:
    assert_built(build(tmp_path, "-Werror"))


@HAS_COMPILER
def test_where_no_kernel_compiles_the_installation_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "setup.py",
        "build_ext",
        "--build-lib",
        str(tmp_path / "lib"),
        "--build-temp",
        str(tmp_path),
    ]
    environment = os.environ | {"KERNEL_FLAGS": "--nonsense"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert 'building extension "zoo.engines.lanes._lanes_portable" failed' in done.stderr
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_says_what_it_installs_before_it_begins() -> None:
    command = ["make", "--no-print-directory", "--dry-run", "--always-make", ".venv/installed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "about 5 GB" in done.stdout.splitlines()[0]


# ------------------------------------------------------------------------------------------------- which compiler it is


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The user has chosen no compiler."""
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variables", "command"),
    [
        ({"CXX": "ccache clang++-16 -m64", "CC": "gcc"}, ["ccache", "clang++-16", "-m64"]),
        ({"CC": "gcc-12"}, ["g++-12"]),
        ({"CC": "/opt/llvm/bin/clang"}, ["/opt/llvm/bin/clang++"]),
        ({"CC": "ccache cc -m64"}, ["ccache", "c++", "-m64"]),
        ({"CC": "/opt/gcc/bin/aarch64-linux-gnu-gcc"}, ["/opt/gcc/bin/aarch64-linux-gnu-g++"]),
        ({"CC": "/opt/clang++"}, ["/opt/clang++"]),
    ],
)
def test_the_users_compiler_comes_first_and_alone(
    chosen: pytest.MonkeyPatch, variables: dict[str, str], command: list[str]
) -> None:
    for name, value in variables.items():
        chosen.setenv(name, value)
    assert list(compiler.candidates()) == [command]


def test_one_that_does_not_compile_is_none(chosen: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert not compiler.works([str(broken)])
    assert not compiler.works([str(tmp_path / "nowhere")])
    chosen.setenv("CXX", str(broken))
    assert compiler.found() is None
    assert backend.clang() == ["ziglang"]


def requirements() -> list[list[str]]:
    return [backend.get_requires_for_build_wheel(), backend.get_requires_for_build_editable()]


@pytest.fixture
def setuptools_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("get_requires_for_build_wheel", "get_requires_for_build_editable"):
        monkeypatch.setattr(backend.build_meta, name, lambda settings: ["a"])


@HAS_COMPILER
def test_where_a_compiler_works_the_build_asks_for_no_other(setuptools_needs: None) -> None:
    assert requirements() == [["a"], ["a"]]
    assert compiler.command() == compiler.found()


def test_where_none_works_the_build_asks_for_clang(
    chosen: pytest.MonkeyPatch, setuptools_needs: None, tmp_path: Path
) -> None:
    chosen.setenv("PATH", str(tmp_path))
    assert requirements() == [["a", "ziglang"], ["a", "ziglang"]]
    chosen.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="install one, or set CXX to one"):
        compiler.command()
    chosen.setattr(compiler.importlib.util, "find_spec", lambda name: object())
    assert compiler.command() == [sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline"]


# --------------------------------------------------------------------------------------------------------------- wheels


def wheel(folder: Path, *options: str, **variables: str) -> Path:
    """Build the package's wheel of a copy of its sources, with kernels that compile quickly; return its content.

    Skips the test if the compiler that is needed for it cannot be fetched.
    """
    for name in PACKAGED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / "source" / name)
    for kernels in folder.rglob("*.so"):
        kernels.unlink()
    command = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir", str(folder), *options]
    environment = os.environ | {"KERNEL_FLAGS": "-O1"} | variables
    done = subprocess.run([*command, str(folder / "source")], env=environment, capture_output=True, text=True)
    if "No matching distribution found for ziglang" in done.stderr:
        pytest.skip("ziglang cannot be fetched")
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    [built] = folder.glob("*.whl")
    assert built.name.startswith("model_zoos-") and "-py3-none-" in built.name
    with zipfile.ZipFile(built) as file:
        file.extractall(folder / "content")
    return folder / "content"


@pytest.mark.slow
def test_without_a_compiler_clang_builds_the_kernels(chosen: pytest.MonkeyPatch, tmp_path: Path) -> None:
    content = wheel(tmp_path, PATH=str(tmp_path))
    package = content / "zoo" / "engines" / "lanes"
    assert_built(package)
    if LISTS_FLAGS:
        assert best_of_kernels(package / "_lanes_portable.so") == best_of_linux()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which the wheel is installed, and else what is installed here."""
    folder = tmp_path_factory.mktemp("installed")
    content = wheel(folder, "--no-build-isolation")
    venv.create(folder / "env", symlinks=True)
    [packages] = (folder / "env").glob("lib/python*/site-packages")
    shutil.copytree(content, packages, dirs_exist_ok=True)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "env" / "bin" / "python"


def zoo_command(python: Path, cwd: Path, *arguments: str) -> str:
    """What `python -m zoo` prints, in the folder, with nothing of the checkout."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ZOO_LANES")}
    done = subprocess.run(
        [python, "-m", "zoo", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=200
    )
    print(done.stderr)
    assert done.returncode == 0
    return done.stdout + done.stderr


@pytest.mark.slow
@HAS_COMPILER
def test_an_installed_package_does_what_the_checkout_does(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "own" / "data").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "tiny.py", tmp_path / "own_images.py")
    choice = (ROOT / "tests" / "conf" / "data" / "tiny.yaml").read_text()
    (tmp_path / "own" / "data" / "tiny.yaml").write_text(choice.replace("tests.tiny.", "own_images."))
    assert "python -m zoo train -m optim.lr=1e-3,1e-4" in zoo_command(installed, tmp_path, "train", "--help")
    assert "python -m zoo analyze sweep=" in zoo_command(installed, tmp_path, "analyze", "--help")
    assert "27 presets" in zoo_command(installed, tmp_path, "presets")
    values = ["data=tiny", "trainer.max_epochs=1", "seed=0,1"]
    for launcher in ("zoo", "dask", "joblib", "basic"):
        of_launcher = [f"zoo.name={launcher}", f"hydra/launcher={launcher}"]
        told = zoo_command(installed, tmp_path, "train", "--config-dir=own", "-m", *values, *of_launcher)
        assert "2 runs done, 0 failed" in told and "Without the CPU engine" not in told
        is_hydras = launcher in ("joblib", "basic")  # of those, the sweeper says less
        assert is_hydras or f"`python -m zoo analyze sweep=sweeps/{launcher}`" in told
        assert len(list((tmp_path / "sweeps" / launcher).glob("*/checkpoint_000001/checkpoints"))) == 2
    zoo_command(installed, tmp_path, "analyze", "sweep=sweeps/zoo")
    assert len(ZooDataset(tmp_path / "zoos" / "zoo").models) == 2
    assert "2/2 epochs, 2 runs done, 0 failed, 0 left" in zoo_command(installed, tmp_path, "status")

"""Building the kernels."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.engines.lanes import sources
from zoo.engines.lanes.library import VARIANTS

ROOT = Path(__file__).parent.parent


def build(to: Path, flags: str) -> Path:
    """The folder of the built package, a wheel's content. A variant that doesn't compile is missing there."""
    command = [sys.executable, "setup.py", "build", "--build-base", str(to), "--build-lib", str(to / "lib")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"KERNEL_FLAGS": flags}, capture_output=True, text=True, check=True
    )
    print(done.stderr)  # what the compiler says, shown where the test fails
    return to / "lib" / "zoo" / "engines" / "lanes"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no compiler")
def test_kernels_compile_without_a_warning(tmp_path: Path) -> None:
    package = build(tmp_path, "-Werror")
    built = {path.name for path in package.glob("_lanes_*.so")}
    assert "_lanes_portable.so" in built
    if os.uname().machine == "x86_64":
        assert built == {f"_lanes_{variant}.so" for variant in VARIANTS}
    assert (package / sources.RECORD).exists()
    assert sources.expected(package) == sources.digest(ROOT / "zoo" / "engines" / "lanes" / sources.SOURCES)


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_says_what_it_installs_before_it_begins() -> None:
    command = ["make", "--dry-run", "--always-make", ".venv/installed"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "about 5 GB" in done.stdout.splitlines()[0]

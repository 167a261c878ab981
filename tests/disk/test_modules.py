"""Where the code of modules lies."""

import sys
from pathlib import Path

import pytest

import zoo.models.cnn  # noqa: F401
from zoo.disk.modules import file_defining, file_of


def test_files_are_found_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "acting"
    package.mkdir()
    for name in ("__init__", "inner"):
        (package / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert file_of("acting") == package / "__init__.py" and file_of("acting.inner") == package / "inner.py"
    assert "acting" not in sys.modules
    assert file_of("zoo.models.cnn") == Path(str(sys.modules["zoo.models.cnn"].__file__))
    for nothing in ("", "acting.none", "acting.inner.none", "../acting", "acting/inner", "a..b", "sys"):
        assert file_of(nothing) is None
    assert file_defining("acting.inner.Net.build") == package / "inner.py" and "acting" not in sys.modules
    assert file_defining("acting.Net") == package / "__init__.py" and file_defining("none.Net") is None
    assert file_of("antigravity") is not None and "antigravity" not in sys.modules

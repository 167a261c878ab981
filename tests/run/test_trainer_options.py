"""Every argument of Lightning's Trainer works, or is refused with a reason."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from zoo.errors import ZooError
from zoo.node.grid import Grid
from zoo.run.engine import unsupported
from zoo.run.trainer_options import IMMATERIAL, MATERIAL, REFUSED, check_options, is_there, require_accelerator

DOCS = Path(__file__).parents[2] / "docs" / "trainer_options.md"
VALUES = {
    "precision": "bf16-mixed",
    "limit_train_batches": 2,
    "gradient_clip_val": 1,
    "gradient_clip_algorithm": "value",
    "callbacks": "{_target_: mine.Callback}",
}


def test_every_argument_of_the_trainer_is_decided_on() -> None:
    decided = ["max_epochs", *MATERIAL, *IMMATERIAL, *REFUSED]
    assert len(decided) == len(set(decided)) and set(inspect.signature(pl.Trainer).parameters) <= set(decided)


def test_the_docs_tell_of_each_where_it_stands() -> None:
    identity, other, refused = re.split("\nWhat doesn't|\nRefused are", DOCS.read_text())
    for text, keys in ((identity, ("max_epochs", *MATERIAL)), (other, IMMATERIAL), (refused, tuple(REFUSED))):
        rows = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
        assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(keys)


@pytest.mark.parametrize("key", MATERIAL)
def test_what_changes_the_models_is_in_their_names(grid: Callable[..., Grid], key: str) -> None:
    [plain], [other] = grid(), grid(f"+trainer.{key}={VALUES[key]}")
    assert plain.name != other.name


def test_what_changes_nothing_is_listed_as_immaterial(grid: Callable[..., Grid]) -> None:
    [node] = grid()
    listed = [key for key in node.config["immaterial"] if key.startswith("trainer.")]
    assert set(listed) == {f"trainer.{key}" for key in (*IMMATERIAL, "_target_")}


def test_what_the_engine_cannot_do_goes_through_pytorch(grid: Callable[..., Grid]) -> None:
    for option in ("precision=bf16-mixed", "gradient_clip_val=1", "detect_anomaly=true", "callbacks={_target_: m.C}"):
        [node] = grid(f"+trainer.{option}")
        assert str(unsupported(node)).startswith(f"trainer.{option.split('=')[0]}=")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("devices", 2, r"trainer.devices=2: must be 1, or the number of one device in a list.*docs/scaling.md"),
        ("devices", "auto", "must be 1"),
        ("devices", -1, "must be 1"),
        ("devices", [0, 1], "must be 1"),
        ("devices", True, "must be 1"),
        ("accelerator", "tpu", "trainer.accelerator=tpu: must be one of cpu, gpu"),
        ("precision", "64-true", "trainer.precision=64-true: must be one of 16-mixed, bf16-mixed; without it.*float32"),
        ("precision", 32, "must be one of 16-mixed"),
        ("limit_train_batches", 1.0, "must be a whole number of batches, 1 or more, or a share"),
        ("limit_train_batches", 0, "must be a whole number of batches"),
        ("limit_train_batches", "all", "must be a whole number of batches"),
        ("gradient_clip_val", 0, "must be a number above 0"),
        ("gradient_clip_val", float("inf"), "must be a number above 0"),
        ("gradient_clip_algorithm", "norm", "clips nothing without trainer.gradient_clip_val"),
        ("gradient_clip_algorithm", "most", "must be one of norm, value"),
        ("enable_checkpointing", True, "every epoch of every model is written already"),
        ("profiler", "nonsense", "trainer.profiler=nonsense: must be one of simple, advanced, pytorch, or"),
        ("log_every_n_steps", 0, "must be a whole number of epochs, 1 or more"),
        ("log_every_n_steps", 0.5, "must be a whole number of epochs, 1 or more"),
        ("default_root_dir", 5, "must be a folder"),
        ("deterministic", "always", "must be true, false, warn or null"),
        ("benchmark", "some", "trainer.benchmark=some: must be true, false or null"),
        ("detect_anomaly", 3, "must be true, false or null"),
        ("enable_progress_bar", "yes please", "must be true, false or null"),
        ("enable_model_summary", 5, "must be true, false or null"),
        ("max_step", 5, "no such argument. Did you mean max_epochs"),
        *((key, None, f"trainer.{key}=None: .*[a-z]{{4}}") for key in REFUSED),
    ],
)
def test_refused(key: str, value: Any, message: str) -> None:
    with pytest.raises(ZooError, match=message) as caught:
        check_options({key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"devices": 1, "accelerator": "gpu", "_target_": "pytorch_lightning.Trainer", "max_epochs": 3},
        {"devices": [1], "enable_checkpointing": False, "logger": True, "profiler": "simple"},
        {"devices": "1", "limit_train_batches": 1, "precision": "16-mixed"},
        {"deterministic": "warn", "benchmark": None, "detect_anomaly": True, "log_every_n_steps": 2},
        {"profiler": {"_target_": "mine.Profiler"}, "default_root_dir": "logs", "enable_progress_bar": True},
        {"limit_train_batches": 0.5, "gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"},
    ],
)
def test_accepted(options: dict[str, Any]) -> None:
    check_options(options)


def test_a_missing_device_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    is_there.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("gpu", "cuda", "mps"):
        with pytest.raises(ZooError, match=f"trainer.accelerator={name}: PyTorch finds none on this machine"):
            require_accelerator({"trainer": {"accelerator": name}})
    configs: list[dict[str, dict[str, str]]] = [{"trainer": {"accelerator": name}} for name in ("cpu", "auto")]
    configs += [{"trainer": {}}, {}]
    for config in configs:
        require_accelerator(config)
    is_there.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    require_accelerator({"trainer": {"accelerator": "gpu"}})
    is_there.cache_clear()

"""Training imports PyTorch's compiler for those alone who compile something."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from zoo.run import compiler
from zoo.run.trainer import made_deterministic

ROOT = Path(__file__).parent.parent.parent

TRAINS = """
import sys
import torch
from zoo.run import compiler, run
parameter = torch.nn.Parameter(torch.ones(2))
parameter.grad = torch.ones(2)
optimizer = torch.optim.SGD([parameter], lr=0.5)
optimizer.step()
optimizer.zero_grad()
assert parameter.tolist() == [0.5, 0.5] and optimizer.state_dict()["param_groups"][0]["lr"] == 0.5
assert not compiler.is_there() and not {"sympy", "triton"} & sys.modules.keys()
"""
COMPILES = {
    "a function": "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(2)).tolist())",
    "by a submodule": "import torch._dynamo.config as config; print([2.0, 2.0] if config.__file__ else None)",
    "by a name": "from torch._dynamo import config; print([2.0, 2.0] if config.__file__ else None)",
}


@pytest.mark.slow
@pytest.mark.parametrize("way", COMPILES)
def test_the_compiler_is_there_for_those_who_ask(way: str) -> None:
    now = "assert compiler.is_there() and issubclass(compiler.compiler().OptimizedModule, torch.nn.Module)"
    code = f"{TRAINS}\n{COMPILES[way]}\n{now}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[2.0, 2.0]\n", done.stderr


def test_training_does_not_import_the_compiler() -> None:
    subprocess.run([sys.executable, "-c", TRAINS], cwd=ROOT, check=True)


def test_a_stand_in_compiles_nothing() -> None:
    stand_in = compiler.StandIn(compiler.NAME)
    assert stand_in.disable(len) is len and stand_in.disable(recursive=False)(len) is len
    stand_in.graph_break("here")
    assert not isinstance(torch.nn.Linear(1, 1), stand_in.OptimizedModule)
    assert not hasattr(stand_in, "__file__")


@pytest.mark.parametrize(
    ("options", "mode", "benchmark"),
    [
        ({"deterministic": True}, 2, False),
        ({"deterministic": "warn"}, 1, False),
        ({"deterministic": False}, 0, None),
        ({"deterministic": True, "benchmark": True}, 2, True),
    ],
)
def test_deterministic_without_the_compiler(
    monkeypatch: pytest.MonkeyPatch, options: dict, mode: int, benchmark: bool | None
) -> None:
    """As Lightning has it."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.setattr(compiler, "is_there", lambda: False)
    before = torch.get_deterministic_debug_mode()
    try:
        assert made_deterministic({"devices": 1, **options}) == {"devices": 1, "benchmark": benchmark}
        assert torch.get_deterministic_debug_mode() == mode
    finally:
        torch.set_deterministic_debug_mode(before)
    monkeypatch.setattr(compiler, "is_there", lambda: True)
    assert made_deterministic(options) == options  # then Lightning does it

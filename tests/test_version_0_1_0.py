"""Sweeps and zoos of version 0.1.0 load, resume and collate; its engine's weights are ours up to rounding."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import train_sweep
from zoo import ZooDataset
from zoo.analyze import make_zoo
from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.record import read_records, read_state

OLD = Path(__file__).parent / "version_0_1_0"
COMMAND = ["seed=0,1", "model.dropout=0,0.5", "trainer.max_epochs=2"]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the old sweep, in a folder to run commands in."""
    shutil.copytree(OLD / "sweeps", tmp_path / "sweeps")
    return tmp_path


def test_its_zoo_opens() -> None:
    dataset = ZooDataset(OLD / "zoos/tiny")
    assert len(dataset) == 3 * 3 + 2 and dataset.weights.shape == (11, 2464)
    assert dataset.factors == ["model.dropout", "seed"]
    state = dataset.state_dict(0, 2)
    run = paths.runs(OLD / "zoos/tiny") / dataset.models["node"][0]
    assert all(torch.equal(state[key], value) for key, value in read_state(run, 2).items())


def test_its_sweep_resumes(old: Path) -> None:
    before = {path: path.read_bytes() for path in old.glob("sweeps/tiny/*dropout0_*/checkpoint_*/checkpoints")}
    nodes = train_sweep(old, *COMMAND)
    assert [len(read_records(node.run)) for node in nodes] == [3] * 4
    assert len(list((old / "sweeps/tiny").glob("*/params.json"))) == 4
    assert len(before) == 6 and all(path.read_bytes() == content for path, content in before.items())


def test_its_sweep_collates(old: Path) -> None:
    summary = make_zoo(old / "sweeps/tiny", old / "zoos/tiny")
    assert summary["models"] == 4 and summary["finished"] == 3
    new, there = ZooDataset(old / "zoos/tiny"), ZooDataset(OLD / "zoos/tiny")
    assert torch.equal(new.weights, there.weights) and new.models["node"].equals(there.models["node"])


def test_its_engine_trained_the_same_models_up_to_rounding(tmp_path: Path) -> None:
    nodes = train_sweep(tmp_path, *COMMAND)
    for node in nodes:
        [run] = (OLD / "sweeps/tiny").glob(f"{node.name.rpartition('_')[0]}_*")  # the hash is by other rules
        for epoch in range(len(read_records(run))):
            for key, value in read_state(run, epoch).items():
                np.testing.assert_allclose(value, read_state(node.run, epoch)[key], rtol=1e-4, atol=1e-5)


def test_what_its_names_do_not_tell_is_refused(old: Path) -> None:
    for option in ("gradient_clip_val=0.001", "precision=bf16-mixed", "limit_train_batches=1"):
        with pytest.raises(
            ZooError, match=f"was begun by version 0.1.0, whose names .* trainer.{option.split('=')[0]}"
        ):
            train_sweep(old, *COMMAND, f"+trainer.{option}")
    with pytest.raises(ZooError, match="was begun by version 0.1.0: it can't go on to 3"):
        train_sweep(old, *COMMAND[:2], "trainer.max_epochs=3")

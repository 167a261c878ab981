"""A zoo's runs, read back; the sweep that they were trained in has the same files."""

from pathlib import Path

import pytest
import torch

from zoo.disk import paths
from zoo.errors import ZooError
from zoo.format.record import read_records
from zoo.format.runs import Runs


def test_runs_are_what_was_trained(zoo: Path, sweep: Path) -> None:
    found, node = Runs(zoo), sorted(folder.name for folder in paths.runs(zoo).iterdir())[0]
    records = found.records(node)
    assert found.params(node)["node"] == node
    assert records == read_records(sweep / node)
    assert found.checkpoint(node, records[1]) == paths.checkpoint(sweep / node, 1).read_bytes()
    state = torch.load(paths.checkpoint(sweep / node, 0), weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in found.state(node, records[0]).items())
    assert found.optimizer(node, records[0]) is None
    assert found.optimizer(node, records[-1]) == paths.optimizers(sweep / node)[-1].read_bytes()


def test_damaged_and_foreign_files_are_named(zoo: Path, tmp_path: Path) -> None:
    node, found = "a_0123456789", Runs(tmp_path)
    run = paths.runs(tmp_path) / node
    paths.checkpoint(run, 0).parent.mkdir(parents=True)
    paths.checkpoint(run, 0).write_bytes(b"changed")
    record = {"training_iteration": 0, "state_sha256": "0" * 64}
    with pytest.raises(ZooError, match=r"checkpoint_000000/checkpoints is damaged.*sha256"):
        found.checkpoint(node, record)
    paths.checkpoint(run, 0).unlink()
    with pytest.raises(ZooError, match=r"checkpoints is missing"):
        found.checkpoint(node, record)
    paths.checkpoint(run, 0).symlink_to(paths.models(zoo))
    with pytest.raises(ZooError, match=r"outside the zoo"):
        found.checkpoint(node, record)
    for name in ("..", "a/b", ""):
        with pytest.raises(ZooError, match="no name of a node"):
            found.params(name)

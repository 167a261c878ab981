from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.errors import ZooError
from zoo.format.weights import Weights, WeightsWriter

STATES = torch.arange(5 * 3 * 4, dtype=torch.float32).reshape(5, 3, 4)  # 5 models, 3 epochs, 4 parameters


def write(folder: Path, models_a_file: int) -> None:
    with WeightsWriter(folder, epochs=3, parameters=4, shard_bytes=models_a_file * 3 * 4 * 4) as writer:
        for states in STATES:
            writer.add(states)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_file_is_a_safetensors_file_of_all_states(tmp_path: Path) -> None:
    write(tmp_path, 5)
    assert names(tmp_path) == ["weights.safetensors"]
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["weights"], STATES)


def test_shards(tmp_path: Path) -> None:
    write(tmp_path, 2)
    shards = [f"weights-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    assert names(tmp_path) == [*shards, "weights.safetensors.index.json"]
    assert torch.equal(torch.cat([load_file(tmp_path / shard)["weights"] for shard in shards]), STATES)


def test_a_shard_holds_at_least_one_model(tmp_path: Path) -> None:
    write(tmp_path, 0)
    assert len(names(tmp_path)) == 6


@pytest.mark.parametrize("models_a_file", [5, 2, 1])
@pytest.mark.parametrize("rows", [range(15), range(1, 15, 3), [0, 1, 2, 8], [7], [5, 6], [14], []])
def test_states(tmp_path: Path, models_a_file: int, rows: list[int]) -> None:
    write(tmp_path, models_a_file)
    weights = Weights(tmp_path)
    assert weights.shape == (5, 3, 4)
    assert torch.equal(weights.states(np.array(rows, dtype=np.int64)), STATES.view(15, 4)[list(rows)])
    for row in rows:
        assert torch.equal(weights.state(*divmod(row, 3)), STATES[divmod(row, 3)])


def test_evenly_spaced_states_are_views_that_do_not_change_the_file(tmp_path: Path) -> None:
    write(tmp_path, 5)
    weights = Weights(tmp_path)
    last = weights.states(np.arange(2, 15, 3))
    assert last.untyped_storage().data_ptr() == weights.state(0, 0).untyped_storage().data_ptr()
    last[0] = -1
    assert torch.equal(load_file(tmp_path / "weights.safetensors")["weights"], STATES)


def test_missing_epochs_are_nan(tmp_path: Path) -> None:
    with WeightsWriter(tmp_path, epochs=3, parameters=4) as writer:
        writer.add(STATES[0, :1])
        writer.add(STATES[1])
    written = load_file(tmp_path / "weights.safetensors")["weights"]
    assert torch.equal(written[0, 0], STATES[0, 0]) and written[0, 1:].isnan().all()
    assert torch.equal(written[1], STATES[1])


def test_an_error_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), WeightsWriter(tmp_path, epochs=3, parameters=4) as writer:
        writer.add(STATES[0])
        raise KeyboardInterrupt
    assert "weights.safetensors" not in names(tmp_path)


@pytest.mark.parametrize("models_before", [0, 1, 2])
def test_a_file_that_can_t_be_opened_is_the_error(tmp_path: Path, models_before: int) -> None:
    """The files hold one model each."""
    (tmp_path / f"weights.{models_before + 1}").mkdir()
    with (
        pytest.raises(IsADirectoryError, match=f"weights.{models_before + 1}"),
        WeightsWriter(tmp_path, epochs=3, parameters=4, shard_bytes=1) as writer,
    ):
        for states in STATES:
            writer.add(states)
    assert len(writer.models) == models_before


def test_a_full_disk_does_not_hide_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WeightsWriter, "unnamed", lambda *_: Path("/dev/full"))
    with pytest.raises(KeyboardInterrupt), WeightsWriter(tmp_path, epochs=3, parameters=4) as writer:
        writer.add(STATES[0])
        raise KeyboardInterrupt
    with pytest.raises(OSError, match="No space left"), WeightsWriter(tmp_path, epochs=3, parameters=4) as writer:
        writer.add(STATES[0])


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(ZooError, match="weights.safetensors is missing"):
        Weights(tmp_path)
    write(tmp_path, 5)
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", b"x" * 1000):
        path.write_bytes(damaged)
        with pytest.raises(ZooError, match="weights.safetensors is damaged"):
            Weights(tmp_path)
    save_file({"weights": torch.zeros(3)}, path)
    with pytest.raises(ZooError, match="weights.safetensors is damaged"):
        Weights(tmp_path)
    save_file({"other": STATES}, path)
    with pytest.raises(ZooError, match="weights.safetensors is damaged"):
        Weights(tmp_path)

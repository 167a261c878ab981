"""SANE's prepared token files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.exports.conftest import EPOCHS, MODELS
from tests.exports.fabricated import fabricate
from zoo import ZooDataset
from zoo.models.cnn import CNNSmall

Export = Callable[..., Path]
SPLITS = ("train", "val", "test")


def tokenised(state: dict[str, Tensor], norms: dict[str, dict[str, float]]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, mask and positions, written down layer by layer."""
    width = max(value[0].numel() + 1 for key, value in state.items() if key.endswith("weight"))
    tokens, masks = [], []
    positions: list[list[int]] = []
    weights = [key for key in state if key.endswith("weight")]
    for layer, key in enumerate(weights):
        rows = torch.cat([state[key].flatten(1), state[key.replace("weight", "bias")][:, None]], dim=1)
        rows = (rows - norms[key]["mean"]) / norms[key]["std"]
        for channel, row in enumerate(rows):
            padding = torch.zeros(width - len(row))
            tokens.append(torch.cat([row, padding]))
            masks.append(torch.cat([torch.ones_like(row), padding]).bool())
            positions.append([len(positions), layer, channel])
    return torch.stack(tokens), torch.stack(masks), torch.tensor(positions, dtype=torch.int16)


def test_samples_are_the_tokens_of_states(export: Export, zoo: Path) -> None:
    out = export(zoo, "sane")
    names = [f"module_list.{number}.{name}" for number in (0, 3, 6, 9, 11) for name in ("weight", "bias")]
    seen = 0
    for split in SPLITS:
        dataset = ZooDataset(zoo, split=split)
        last = dataset.properties[dataset.properties["epoch"] == 3]
        norms = json.loads((out / f"dataset_normalization_{split}.json").read_text())
        assert norms.pop("mode") == "standardize" and list(norms) == names[::2]
        assert len(list((out / f"dataset_torch.{split}").iterdir())) == len(last)
        for number, row in enumerate(last.to_dict("records")):
            sample = torch.load(out / f"dataset_torch.{split}" / f"sample_{number}.pt")
            state = dict(zip(names, dataset.state_dict(row["id"], 3).values(), strict=True))
            tokens, mask, positions = tokenised(state, norms)
            assert torch.allclose(sample["w"], tokens, atol=1e-6) and torch.equal(sample["m"], mask)
            assert torch.equal(sample["p"], positions) and sample["p"].dtype == torch.int16
            assert torch.equal(sample["props"], torch.tensor([row["test_acc"], row["epoch"], row["ggap"]]))
            seen += 1
        info = json.loads((out / f"dataset_info_{split}.json").read_text())
        assert info["max_positions"] == [47, 4, 19] and info["num_samples"] == len(last)
    assert sample["w"].shape == (48, 201) and seen == 8


def test_layers_are_standardised_by_the_training_split(export: Export, small_cnns: Path) -> None:
    out = export(small_cnns, "sane", "--epochs", "all")
    norms = json.loads((out / "dataset_normalization_test.json").read_text())
    train = ZooDataset(small_cnns, split="train")
    means, stds = [], []
    for model, epoch in train.properties[["id", "epoch"]].to_numpy().tolist():
        state = list(train.state_dict(model, epoch).values())
        numbers = torch.cat([state[2].flatten(), state[3]])
        means.append(numbers.mean())
        stds.append(numbers.std())
    second = list(norms.values())[1]
    assert second["mean"] == pytest.approx(float(torch.stack(means).mean()), abs=1e-6)
    assert second["std"] == pytest.approx(float(torch.stack(stds).square().mean().sqrt()), rel=1e-6)
    assert len(list(out.glob("dataset_torch.*/*"))) == MODELS * (EPOCHS + 1)


@pytest.mark.parametrize(("window", "starts"), [(16, [0, 16, 32]), (20, [0, 20, 28]), (48, [0]), (100, [0])])
def test_windows_cover_all_tokens(export: Export, zoo: Path, window: int, starts: list[int]) -> None:
    out = export(zoo, "sane", "--window", str(window))
    first = [torch.load(out / "dataset_torch.test" / f"sample_{number}.pt") for number in range(len(starts))]
    assert [int(sample["p"][0, 0]) for sample in first] == starts
    assert {tuple(sample["w"].shape) for sample in first} == {(min(window, 48), 201)}
    assert json.loads((out / "dataset_info_test.json").read_text())["supersample"] == len(starts)


def test_wide_channels_are_several_tokens(export: Export, zoo: Path) -> None:
    wide = export(zoo, "sane")
    whole = torch.load(wide / "dataset_torch.test" / "sample_0.pt")
    cut = torch.load(export(zoo, "sane", "--token-size", "50") / "dataset_torch.test" / "sample_0.pt")
    assert cut["w"].shape == (
        8 + 6 * 5 + 4 + 20 + 10,
        50,
    )  # of the second layer's channels, with 201 numbers, five each
    second = cut["w"][cut["p"][:, 1] == 1].view(6, 250)[:, :201]
    assert torch.equal(second, whole["w"][whole["p"][:, 1] == 1])
    assert int(cut["m"].sum()) == int(whole["m"].sum()) == 2464


def test_norms_are_left_out(export: Export, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 5, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 2))
    out = export(fabricate(tmp_path / "norms", model, [{"optim.lr": 0.1}] * 3, 1), "sane")
    keys = list(json.loads((out / "dataset_normalization_train.json").read_text()))
    assert keys == ["0.weight", "3.weight", "mode"]
    sample = torch.load(next(out.glob("dataset_torch.*/sample_0.pt")))
    assert sample["w"].shape == (5, 25) and sample["m"].sum(dim=1).tolist() == [25, 25, 25, 4, 4]


def test_without_a_training_split_nothing_can_be_standardised(export: Export, tmp_path: Path) -> None:
    zoo = fabricate(tmp_path / "one", CNNSmall(1), [{"node": "i_0000000000"}], 1)
    assert not len(ZooDataset(zoo, split="train"))
    with pytest.raises(SystemExit, match="is in the split train"):
        export(zoo, "sane")

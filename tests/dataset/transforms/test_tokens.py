"""Weights as SANE's tokens, and back."""

import pytest
import torch
from torch import nn

from tests.dataset.transforms.networks import NETWORKS, made, vector
from zoo.dataset.transforms import Tokenise
from zoo.errors import ZooError
from zoo.format.architecture import Architecture
from zoo.models.cnn import CNNSmall


def architecture(name: str) -> Architecture:
    return Architecture.of(made(name))


TWO_LAYERS = nn.Sequential(nn.Conv2d(1, 2, (1, 3)), nn.Flatten(), nn.Linear(2, 3, bias=False))


def test_a_token_is_a_channels_weights_and_its_bias() -> None:
    tokens, mask, positions = Tokenise(Architecture.of(TWO_LAYERS))(torch.arange(1.0, 15))
    assert tokens.tolist() == [[1, 2, 3, 7], [4, 5, 6, 8], [9, 10, 0, 0], [11, 12, 0, 0], [13, 14, 0, 0]]
    assert torch.equal(mask, tokens != 0)
    assert positions.tolist() == [[0, 0, 0], [1, 0, 1], [2, 1, 0], [3, 1, 1], [4, 1, 2]]
    assert (tokens.dtype, mask.dtype, positions.dtype) == (torch.float32, torch.bool, torch.int16)


def test_cnn_small_has_48_tokens_of_201() -> None:
    network = CNNSmall(1)
    tokens, mask, positions = Tokenise(Architecture.of(network))(vector(network))
    assert tokens.shape == mask.shape == (48, 201) and positions.shape == (48, 3)
    assert mask.sum() == 2464 and torch.equal(tokens != 0, mask)
    assert torch.equal(tokens[9, :200], network.module_list[3].weight[1].flatten())
    assert tokens[9, 200] == network.module_list[3].bias[1] and positions[9].tolist() == [9, 1, 1]
    assert torch.equal(tokens[47, :20], network.module_list[11].weight[9]) and positions[47].tolist() == [47, 4, 9]


def test_a_wide_channel_becomes_several_tokens() -> None:
    tokens, mask, positions = Tokenise(Architecture.of(TWO_LAYERS), width=3)(torch.arange(1.0, 15))
    assert tokens[:5].tolist() == [[1, 2, 3], [7, 0, 0], [4, 5, 6], [8, 0, 0], [9, 10, 0]]
    assert torch.equal(mask, tokens != 0)
    assert positions[:5].tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 1], [3, 0, 1], [4, 1, 0]]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("width", [None, 7])
def test_weights_come_back(name: str, width: int | None) -> None:
    weights = torch.stack([vector(made(name, seed)) for seed in range(2)])
    tokenise = Tokenise(architecture(name), width)
    tokens = tokenise(weights).tokens
    tokens[~tokenise(weights).mask] = torch.nan  # what a decoder makes of the padding is nobody's business
    assert torch.equal(tokenise.inverse(tokens, rest=weights), weights)


def test_a_batch_and_windows_are_as_each_state() -> None:
    tokenise = Tokenise(architecture("mlp"))
    weights = torch.randn(2, 3, tokenise.architecture.length, generator=torch.Generator().manual_seed(0))
    tokens, mask, positions = tokenise(weights)
    assert tokens.shape[:2] == mask.shape[:2] == positions.shape[:2] == (2, 3)
    for model in range(2):
        for epoch in range(3):
            single = tokenise(weights[model, epoch])
            assert torch.equal(tokens[model, epoch], single.tokens)
            assert torch.equal(mask[model, epoch], single.mask)
            assert torch.equal(positions[model, epoch], single.positions)


def test_a_batch_norm_has_tokens_of_weight_and_bias_of_means_and_of_variances() -> None:
    network = nn.Sequential(nn.Linear(1, 2), nn.BatchNorm1d(2))
    tokens, _, positions = Tokenise(Architecture.of(network))(torch.arange(1.0, 14))
    assert tokens.tolist() == [[1, 3], [2, 4], [5, 7], [6, 8], [9, 0], [10, 0], [11, 0], [12, 0]]
    assert positions[:, 1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    without = Tokenise(Architecture.of(network), batch_norm=False)
    assert without(torch.arange(1.0, 14)).tokens.tolist() == [[1, 3], [2, 4]]
    assert without.inverse(torch.zeros(2, 2), torch.arange(1.0, 14)).tolist() == [0, 0, 0, 0, *range(5, 14)]


def test_weights_that_no_token_holds_must_be_given() -> None:
    tokenise = Tokenise(architecture("narrow_resnet"))
    tokens = tokenise(vector(made("narrow_resnet"))).tokens
    with pytest.raises(
        ZooError, match=r"Tokenise\(ResNet: \d+ tokens of 576\) holds no bn1.num_batches_tracked and 19 other"
    ):
        tokenise.inverse(tokens)


def test_a_bias_of_another_size_is_a_layer_of_its_own() -> None:
    """As that of a transposed convolution, whose weight begins with the channels that come in."""
    network = nn.ConvTranspose1d(2, 3, 1)
    tokens, _, positions = Tokenise(Architecture.of(network))(torch.arange(1.0, 10))
    assert tokens.tolist() == [[1, 2, 3], [4, 5, 6], [7, 0, 0], [8, 0, 0], [9, 0, 0]]
    assert positions[:, 1].tolist() == [0, 0, 1, 1, 1]


def test_positions_of_many_tokens_are_wider() -> None:
    network = nn.Linear(1, 2**15 + 1)
    positions = Tokenise(Architecture.of(network)).positions
    assert positions.dtype == torch.int32 and positions[-1].tolist() == [2**15, 0, 2**15]


def test_other_weights_tokens_and_widths_are_errors() -> None:
    tokenise = Tokenise(architecture("cnn_small"))
    with pytest.raises(ZooError, match="weights of 5 numbers are none of a CNNSmall, which has 2464"):
        tokenise(torch.zeros(5))
    with pytest.raises(ZooError, match=r"tokens \[..., 48, 200\] are none of Tokenise\(CNNSmall: 48 tokens of 201\)"):
        tokenise.inverse(torch.zeros(48, 200))
    with pytest.raises(ZooError, match="width=0: give the tokens a width of 1 or more"):
        Tokenise(architecture("cnn_small"), width=0)

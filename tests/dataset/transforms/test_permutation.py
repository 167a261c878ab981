"""Which units can be permuted, and that it changes no output."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.dataset.transforms.networks import NETWORKS, RESNET18, made, outputs, randomised, vector
from zoo.dataset.transforms import PermutationSpec, Permute
from zoo.dataset.transforms.tracing import Axis
from zoo.errors import ZooError
from zoo.models.cnn import CNNSmall
from zoo.models.resnet import ResNet18


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def free_sizes(module: nn.Module) -> list[int]:
    return [group.size for group in PermutationSpec.of(module).free]


def keys_of_groups(module: nn.Module) -> set[frozenset[tuple[str, int]]]:
    """The free groups, as keys of the state dict with the axis."""
    keys = list(module.state_dict())
    groups = PermutationSpec.of(module).free
    return {frozenset((keys[axis.tensor], axis.axis) for axis in group.axes) for group in groups}


def require_same_function(module: nn.Module, images: Tensor) -> None:
    """That permuted weights are others, with the same outputs."""
    weights = vector(module)
    permuted = Permute(PermutationSpec.of(module), seed=0)(weights)
    before = outputs(module, weights, images)
    assert (permuted != weights).float().mean() > 0.5
    assert torch.equal(permuted.sort().values, weights.sort().values)
    assert before.std() > 1e-3
    torch.testing.assert_close(outputs(module, permuted, images), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_stays(name: str) -> None:
    require_same_function(made(name), torch.randn(4, *NETWORKS[name][1], generator=seeded(1)))


@pytest.mark.slow
def test_the_function_of_resnet18_stays() -> None:
    make, shape = RESNET18
    require_same_function(randomised(make, 0), torch.randn(2, *shape, generator=seeded(1)))


def test_groups_of_cnn_small() -> None:
    groups = PermutationSpec.of(CNNSmall(1)).groups
    inputs, first, second, third, fourth, classes = groups
    assert [group.size for group in groups] == [1, 8, 6, 4, 20, 10]
    assert [group.free for group in groups] == [False, True, True, True, True, False]
    assert first.axes == (Axis(0, 0, 1), Axis(1, 0, 1), Axis(2, 1, 1))
    assert third.axes == (Axis(4, 0, 1), Axis(5, 0, 1), Axis(6, 1, 9))  # a channel is a map of 3x3, flattened
    assert fourth.axes == (Axis(6, 0, 1), Axis(7, 0, 1), Axis(8, 1, 1))
    assert inputs.axes == (Axis(0, 1, 1),) and classes.axes == (Axis(8, 0, 1), Axis(9, 0, 1))


def test_dropout_and_activation_make_no_difference() -> None:
    spec = PermutationSpec.of(CNNSmall(1))
    assert PermutationSpec.of(CNNSmall(1, dropout=0.5, activation="gelu")) == spec
    with torch.device("meta"):
        assert PermutationSpec.of(CNNSmall(1)) == spec


def test_residual_connections_share_their_units() -> None:
    groups = keys_of_groups(ResNet18())
    norm = ("weight", "bias", "running_mean", "running_var")
    stream = {("conv1.weight", 0), *((f"bn1.{name}", 0) for name in norm)}
    for block in ("layer1.0", "layer1.1"):
        stream |= {(f"{block}.conv1.weight", 1), (f"{block}.conv2.weight", 0)}
        stream |= {(f"{block}.bn2.{name}", 0) for name in norm}
    stream |= {("layer2.0.conv1.weight", 1), ("layer2.0.downsample.0.weight", 1)}
    inner = {("layer3.1.conv1.weight", 0), ("layer3.1.conv2.weight", 1), *((f"layer3.1.bn1.{n}", 0) for n in norm)}
    assert len(groups) == 12 and {frozenset(stream), frozenset(inner)} <= groups


def test_each_of_a_batch_by_itself_a_window_together() -> None:
    weights = vector(made("mlp"))
    spec = PermutationSpec.of(made("mlp"))
    batch = weights.expand(3, 2, -1)
    alone = Permute(spec, seed=0)(batch)
    assert alone.shape == batch.shape and len(alone.flatten(0, 1).unique(dim=0)) == 6
    together = Permute(spec, window=True, seed=0)(batch)
    assert torch.equal(together[:, 0], together[:, 1]) and len(together[:, 0].unique(dim=0)) == 3
    window = Permute(spec, window=True, seed=0)(weights.expand(5, -1))
    assert len(window.unique(dim=0)) == 1 and not torch.equal(window[0], weights)
    assert torch.equal(alone, Permute(spec, seed=0)(batch))
    assert not torch.equal(alone, Permute(spec, seed=1)(batch))


def test_the_global_generator_is_the_default() -> None:
    weights, permute = vector(made("mlp")), Permute(PermutationSpec.of(made("mlp")))
    torch.manual_seed(3)
    first, second = permute(weights), permute(weights)
    torch.manual_seed(3)
    assert torch.equal(permute(weights), first) and not torch.equal(second, first)


def test_every_order_of_units_is_as_likely() -> None:
    spec = PermutationSpec.of(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)))
    [drawn] = spec.draw(6000, generator=seeded())
    orders, counts = drawn.unique(dim=0, return_counts=True)
    assert len(orders) == 6 and 900 < counts.min() and counts.max() < 1100


@pytest.mark.parametrize("name", ["cnn_small", "stack", "residual"])
def test_inverse_permutations_restore_the_weights(name: str) -> None:
    spec, weights = PermutationSpec.of(made(name)), torch.stack([vector(made(name, seed)) for seed in range(3)])
    permutations = spec.draw(3, generator=seeded())
    assert torch.equal(spec.permute(spec.permute(weights, permutations), spec.inverse(permutations)), weights)
    assert torch.equal(spec.permute(weights, spec.identity(3)), weights)
    assert torch.equal(spec.permute(weights, spec.identity()), weights)


def test_units_move_as_the_index_says() -> None:
    network = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 1, bias=False))
    weights = torch.tensor([1.0, 2, 3, 10, 20, 30, 4, 5, 6])
    permuted = PermutationSpec.of(network).permute(weights, [torch.tensor([2, 0, 1])])
    assert permuted.tolist() == [3, 1, 2, 30, 10, 20, 6, 4, 5]


class Functional(nn.Module):
    """The steps of CNN-s as functions and methods."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu(self.first(x)), 2)
        x = F.dropout(F.gelu(self.second(x)), 0.2, self.training)
        return self.last(x.mean(dim=(-1, 2)) * 2)


class Concatenated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.hidden = nn.Linear(4, 3), nn.Linear(4, 2), nn.Linear(5, 6)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.hidden(torch.cat([self.left(x), self.right(x)], dim=1))))


class Tied(nn.Module):
    """A weight that two layers have."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 5)
        self.last = nn.Linear(5, 2)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.third(torch.tanh(self.second(torch.tanh(self.first(x)))))))


class Recurrent(nn.Module):
    """A layer that is applied twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(4, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.again(torch.tanh(self.again(torch.tanh(self.first(x)))))))


class Shifted(nn.Module):
    """A parameter for each unit, that is no layer's; and a factor for all."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)
        self.shift, self.factor = nn.Parameter(torch.randn(5)), nn.Parameter(torch.tensor(1.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.factor * torch.relu(self.second(torch.relu(self.first(x) + self.shift))))


class Read(nn.Module):
    """A weight that is used outside of its layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(x))))) + self.first.weight.mean(0)[:2]


class Pooled(nn.Module):
    """A pool along the units, as PyTorch takes [batch, numbers] for one map of many channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(F.max_pool1d(self.first(x), 2))))


class Tokenwise(nn.Module):
    """Channels turned to the last axis, and flattened there: units are not in blocks then."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(1, 4, 3), nn.Linear(4, 5), nn.Linear(5 * 9, 6)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(x).flatten(2).transpose(1, 2))
        return self.last(torch.relu(self.third(torch.relu(x).flatten(1))))


@pytest.mark.parametrize(
    ("make", "shape", "free"),
    [
        (Functional, (1, 9, 9), [4, 6]),
        (Concatenated, (4,), [6]),
        (Tied, (4,), [5]),
        (Recurrent, (4,), [5]),
        (Shifted, (4,), [6]),
        (Read, (4,), [6]),
        (Pooled, (4,), [5]),
        (Tokenwise, (1, 5, 5), [6]),
    ],
)
def test_what_is_not_understood_holds_its_units(make: type[nn.Module], shape: tuple[int, ...], free: list[int]) -> None:
    network = randomised(make, 0)
    assert free_sizes(network) == free
    weights, images = vector(network), torch.randn(3, *shape, generator=seeded(1))
    before = outputs(network, weights, images)
    for seed in range(5):
        permuted = Permute(PermutationSpec.of(network), seed=seed)(weights)
        torch.testing.assert_close(outputs(network, permuted, images), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(4, 4, 3, groups=2, padding=1), nn.GroupNorm(2, 4), nn.Unflatten(1, (2, 2)), nn.Flatten(2)]
)
def test_layers_that_mix_units_hold_them(layer: nn.Module) -> None:
    assert free_sizes(nn.Sequential(nn.Conv2d(1, 4, 3), layer)) == []


def test_reparametrised_layers_hold_their_units() -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(5, 6)))
    assert free_sizes(network) == []


def test_a_forward_that_looks_at_numbers_is_an_error() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ZooError, match=r"torch.fx can't trace the forward of Branching \(.*\): write it such that"):
        PermutationSpec.of(Branching())


def test_weights_of_another_network_are_an_error() -> None:
    spec = PermutationSpec.of(CNNSmall(1))
    with pytest.raises(ZooError, match="weights of 2864 numbers are not PermutationSpec.10 tensors, 2464 numbers"):
        Permute(spec)(vector(CNNSmall(3)))

"""The layers that are read off a model, and the models that are refused because they would be trained wrongly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from zoo.engines import lanes
from zoo.models.cnn import CNNLarge, CNNSmall
from zoo.models.resnet import ResNet18


class Model(nn.Module):
    """Its layers are attributes, as in most people's models; forward is given."""

    def __init__(self, forward: Callable[["Model", Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.pool = nn.MaxPool2d(2)
        self.act = nn.Tanh()
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(27, 4)
        self.apply_layers = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.apply_layers(self, x)


def plain(m: Model, x: Tensor) -> Tensor:
    return m.fc(m.drop(m.act(m.pool(m.conv(x))).flatten(1)))


def names(layers: list[nn.Module]) -> list[str]:
    return [type(layer).__name__ for layer in layers]


def refused(model: nn.Module) -> str:
    with pytest.raises(lanes.Unsupported) as error:
        lanes.chain(model)
    assert "\n" not in str(error.value)
    return str(error.value)


# -------------------------------------------------------------------------------------------------------------- read


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_projects_own_networks(device: str) -> None:
    with torch.device(device):
        for model in (CNNSmall(1), CNNSmall(3, dropout=0.5), CNNLarge(3, activation="gelu", dropout=0.5)):
            assert lanes.chain(model) == list(model.module_list)


def test_containers_are_opened() -> None:
    inner = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    model = nn.Sequential(nn.Flatten(), nn.Sequential(inner), nn.Linear(3, 2))
    assert lanes.chain(model) == [model[0], inner[0], inner[1], model[2]]
    assert lanes.chain(inner[0]) == [inner[0]]


@pytest.mark.parametrize(
    "flatten",
    [
        lambda x: x.flatten(1),
        lambda x: torch.flatten(x, 1),
        lambda x: torch.flatten(x, start_dim=1),
        lambda x: x.view(x.size(0), -1),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: x.view(x.size()[0], -1),
    ],
)
def test_a_forward_of_ones_own(flatten: Callable[[Tensor], Tensor]) -> None:
    model = Model(lambda m, x: m.fc(m.drop(flatten(m.act(m.pool(m.conv(x)))))))
    layers = lanes.chain(model)
    assert names(layers) == ["Conv2d", "MaxPool2d", "Tanh", "Flatten", "Dropout", "Linear"]
    assert layers[0] is model.conv and layers[-1] is model.fc
    assert lanes.supported(layers, (1, 8, 8)) is None


def test_functions_stand_for_layers_and_do_the_same() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(9, 8), nn.Linear(8, 8), nn.Linear(8, 4)
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(F.leaky_relu(self.a(torch.flatten(x, 1)), 0.2))
            x = F.silu(F.gelu(self.b(x))).tanh()
            return torch.sigmoid(self.act(self.c(F.relu(x))))  # a layer without parameters may be used again

    model, x = Functional(), torch.randn(5, 1, 3, 3)
    layers = lanes.chain(model)
    assert lanes.supported(layers, (1, 3, 3)) is None
    torch.testing.assert_close(nn.Sequential(*layers)(x), model(x), rtol=0, atol=0)


def test_the_modes_of_the_modules_are_left_as_they_were() -> None:
    model = Model(plain)
    model.drop.eval()
    lanes.chain(model)
    assert model.training and model.conv.training and not model.drop.training


# ----------------------------------------------------------------------------------------------------------- refused


def test_branches_and_extra_outputs_are_refused() -> None:
    assert "calls add" in refused(ResNet18(3))
    assert "branches" in refused(Model(lambda m, x: m.act(x) + m.pool(m.conv(x))))
    assert "more than one output" in refused(Model(lambda m, x: (plain(m, x), x)))
    assert "more than one output" in refused(Model(lambda m, x: [plain(m, x), m.act(x)][0]))


@pytest.mark.parametrize(
    ("forward", "why"),
    [
        (lambda m, x: plain(m, x) * 2, "calls mul"),
        (lambda m, x: plain(m, F.dropout(x)), "calls dropout"),
        (lambda m, x: m.fc(m.drop(F.max_pool2d(m.conv(x), 2).flatten(1))), "calls max_pool2d"),
        (lambda m, x: plain(m, x.flatten(2).view(x.shape)), "calls view"),
        (lambda m, x: m.fc(m.drop(m.conv(x).view(-1, 27))), "calls view"),
        (lambda m, x: plain(m, x + m.fc.bias[0]), "uses fc.bias outside of a layer"),
        (lambda m, x: plain(m, x) if x.sum() > 0 else x, "cannot be followed"),
        (lambda m, x: plain(m, x) if m.training else m.fc(m.conv(x).flatten(1)), "else in evaluation"),
    ],
)
def test_what_is_no_layer_is_refused(forward: Callable[[Model, Tensor], Tensor], why: str) -> None:
    assert why in refused(Model(forward))


def test_other_layers_in_evaluation_are_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return (self.a if self.training else self.b)(x)

    assert "else in evaluation" in refused(Two())


def test_tied_weights_are_refused() -> None:
    twice = nn.Linear(4, 4)
    assert "is applied twice" in refused(nn.Sequential(twice, nn.Tanh(), twice))
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    assert refused(tied) == "1 is applied twice, or shares its weights with another layer"
    drop = nn.Dropout(0.5)
    assert refused(nn.Sequential(drop, nn.Linear(4, 4), drop)) == "0 is applied twice"


def test_frozen_parameters_are_refused() -> None:
    model = Model(plain)
    model.conv.bias.requires_grad_(False)
    assert refused(model) == "conv.bias is frozen (requires_grad is False)"


@pytest.mark.parametrize(
    "register",
    [
        lambda m: m.register_forward_hook(lambda *_: None),
        lambda m: m.conv.register_forward_pre_hook(lambda *_: None),
        lambda m: m.conv.register_full_backward_hook(lambda *_: None),
        lambda m: m.conv.weight.register_hook(lambda g: 2 * g),
        lambda m: m.conv.weight.register_post_accumulate_grad_hook(lambda p: None),
        lambda m: nn.utils.prune.l1_unstructured(m.conv, "weight", 2),
    ],
)
def test_hooks_are_refused(register: Callable[[Model], object]) -> None:
    model = Model(plain)
    register(model)
    assert "hooks" in refused(model)


def test_what_was_put_over_a_module_is_refused() -> None:
    normed = Model(plain)
    parametrizations.spectral_norm(normed.conv)
    assert refused(normed) == "conv is parametrized"
    patched = Model(plain)
    vars(patched.act)["forward"] = lambda x: 2 * x
    assert refused(patched) == "act has a forward of its own, which is not its class's"


def test_other_number_types_are_refused() -> None:
    assert refused(Model(plain).double()) == "conv.weight is torch.float64, and the engine computes in torch.float32"


def test_what_the_chain_does_not_have_is_refused() -> None:
    unused = Model(plain)
    unused.aux = nn.Linear(2, 2)
    assert refused(unused) == "aux.weight is in the model's state, and in none of the layers that it applies"
    for persistent in (True, False):
        buffered = Model(plain)
        buffered.register_buffer("mean", torch.zeros(1), persistent=persistent)
        assert "mean is in" in refused(buffered)
    assert "dropout layers that it does not apply" in refused(
        Model(lambda m, x: m.fc(m.act(m.pool(m.conv(x))).flatten(1)))
    )


def test_another_order_of_the_state_dict_is_refused() -> None:
    model = Model(plain)
    layers: Any = model._modules
    model.conv = layers.pop("conv")  # registered last
    assert list(model.state_dict())[0] == "fc.weight"
    assert "another order" in refused(model)


def test_layers_without_kernels_are_left_to_supported() -> None:
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x

    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 2))
    assert lanes.supported(lanes.chain(model), (1, 8, 8)) == "BatchNorm2d layers are not supported"
    assert lanes.supported(lanes.chain(nn.Sequential(nn.Flatten(), Own())), (1, 8, 8)) == "Own layers are not supported"

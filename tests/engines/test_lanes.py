"""The CPU engine against PyTorch: layers, optimizers, instruction sets, and a model's independence of its pack."""

import copy
from collections.abc import Iterator
from functools import cache
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.engines import lanes
from zoo.engines.lanes import library, sources
from zoo.engines.lanes.dropout import philox
from zoo.engines.lanes.engine import STATE
from zoo.engines.lanes.layers import ACTIVATIONS as ACTIVATION_NAMES

VARIANTS = lanes.variants()
pytestmark = pytest.mark.skipif(not VARIANTS, reason="the CPU engine was not built: no C++ compiler at installation")

ACTIVATIONS = [nn.Tanh, nn.ReLU, nn.Sigmoid, nn.GELU, nn.LeakyReLU, nn.SiLU]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads on tiny networks only wait for each other, for seconds on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=VARIANTS, autouse=True)
def variant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ZOO_LANES", request.param)
    return request.param


# ------------------------------------------------------------------------------------------------ models and references


def cnn_s(channels: int = 1, act: type[nn.Module] = nn.Tanh, rate: float | None = None) -> nn.Sequential:
    def drop() -> list[nn.Module]:
        return [] if rate is None else [nn.Dropout(rate)]

    return nn.Sequential(
        *(nn.Conv2d(channels, 8, 5), nn.MaxPool2d(2), act(), *drop()),
        *(nn.Conv2d(8, 6, 5), nn.MaxPool2d(2), act(), *drop()),
        *(nn.Conv2d(6, 4, 2), act()),
        *(nn.Flatten(), nn.Linear(36, 20), act(), *drop(), nn.Linear(20, 10)),
    )


def cnn_l(act: type[nn.Module] = nn.Tanh, rate: float = 0.0) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.MaxPool2d(2), act(), nn.Dropout(rate)),
        *(nn.Conv2d(16, 32, 3), nn.MaxPool2d(2), act(), nn.Dropout(rate)),
        *(nn.Conv2d(32, 15, 3), nn.MaxPool2d(2), act(), nn.Dropout(rate)),
        *(nn.Flatten(), nn.Linear(60, 20), act(), nn.Dropout(rate), nn.Linear(20, 10)),
    )


def small(*layers: nn.Module, shape: tuple[int, int, int] = (2, 6, 6), classes: int = 4) -> nn.Sequential:
    """Convolution, the given layers, and a linear layer to the classes."""
    body = nn.Sequential(nn.Conv2d(shape[0], 3, 3), *layers, nn.Flatten())
    features = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(*body, nn.Linear(features, classes))


def seeded(make, count: int, seed: int = 0) -> list[nn.Sequential]:
    torch.manual_seed(seed)
    return [make() for _ in range(count)]


def flat(model: nn.Module) -> np.ndarray:
    return torch.cat([p.detach().float().flatten() for p in model.state_dict().values()]).numpy()


def pack(models: list[nn.Sequential], shape: tuple[int, int, int], *args, **kwargs) -> lanes.Engine:
    engine = lanes.Engine(models[0], shape, len(models), *args, **kwargs)
    engine.parameters = np.stack([flat(m) for m in models])
    return engine


def data(shape: tuple[int, int, int], n: int = 40, classes: int = 10, seed: int = 1) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=g), torch.randint(classes, (n,), generator=g)


def permutations(models: int, n: int, seed: int = 2) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(n, generator=g) for _ in range(models)])


def logits_with_masks(model: nn.Sequential, x: Tensor, key: int, step: int, rate: float) -> Tensor:
    """The forward pass in training, with the engine's dropout masks."""
    dropouts = 0
    for layer in model:
        if isinstance(layer, nn.Dropout):
            mask = lanes.dropout_mask(key, step, dropouts, len(x), tuple(x.shape[1:]), rate)
            x = x * torch.from_numpy(mask).to(x.dtype)
            dropouts += 1
        else:
            x = layer(x)
    return x


def assert_gradients(models: list[nn.Sequential], shape: tuple[int, int, int], x: Tensor, y: Tensor, batch: int = 5):
    """Gradients and losses of one batch against autograd in float64."""
    engine = pack(models, shape)
    indices = permutations(len(models), len(x))[:, :batch]
    gradients, losses = engine.gradients(x, y, indices)
    for model, index, gradient, loss in zip(models, indices, gradients, losses, strict=True):
        model = model.double()
        expected = F.cross_entropy(model(x[index].double()), y[index])
        found = torch.autograd.grad(expected, list(model.parameters()))
        reference = torch.cat([g.flatten() for g in found]).numpy()
        np.testing.assert_allclose(gradient, reference, rtol=1e-4, atol=1e-5 * np.abs(reference).max())
        np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)


# ------------------------------------------------------------------------------------------------- elementary functions


def call(variant: str, name: str, x: np.ndarray) -> np.ndarray:
    x = np.ascontiguousarray(x, dtype=np.float32)
    out = np.empty_like(x)
    kernels, floats = library.load(variant), library.FLOATS
    which = kernels.numbers["Function"][name]
    kernels.library.lanes_function(which, x.ctypes.data_as(floats), out.ctypes.data_as(floats), x.size)
    return out


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "erf"])
def test_bounded_functions_are_accurate_everywhere(variant, name):
    x = np.concatenate([np.linspace(-12, 12, 200_001), np.logspace(-30, 38, 5000), -np.logspace(-30, 38, 5000)])
    x = x.astype(np.float32)
    expected = getattr(torch, name)(torch.from_numpy(x).double()).numpy()
    y = call(variant, name, x)
    assert np.abs(y - expected).max() < 2e-6
    assert np.abs(y).max() <= 1
    low = 0 if name == "sigmoid" else -1
    np.testing.assert_array_equal(call(variant, name, [np.inf, -np.inf, np.nan]), [1, low, np.nan])


def test_exp_is_accurate_and_saturates(variant):
    x = np.linspace(-87.3, 88.7, 300_001).astype(np.float32)
    np.testing.assert_allclose(call(variant, "exp", x), np.exp(x.astype(np.float64)), rtol=2e-6)
    special = [np.inf, 89, 3e38, -np.inf, -105, -3e38, 0, np.nan]
    np.testing.assert_array_equal(call(variant, "exp", special), [np.inf, np.inf, np.inf, 0, 0, 0, 1, np.nan])


def test_log_is_accurate(variant):
    x = np.concatenate([np.logspace(-37.9, 38.5, 200_001), np.linspace(0.5, 2, 100_001)]).astype(np.float32)
    np.testing.assert_allclose(call(variant, "log", x), np.log(x.astype(np.float64)), rtol=2e-6, atol=1e-7)
    np.testing.assert_array_equal(
        call(variant, "log", [0, 1, np.inf, -1, np.nan]), [-np.inf, 0, np.inf, np.nan, np.nan]
    )


# ---------------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "act", [*ACTIVATIONS, lambda: nn.LeakyReLU(0.2)], ids=lambda a: getattr(a, "__name__", "slope")
)
def test_gradients_of_activations(act):
    shape = (2, 6, 6)
    x, y = data(shape, classes=4)
    assert_gradients(seeded(lambda: small(nn.MaxPool2d(2), act()), 3), shape, 2 * x, y)
    assert_gradients(seeded(lambda: small(act(), nn.MaxPool2d(2)), 3), shape, 2 * x, y)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_of_cnn_s(channels):
    shape = (channels, 28, 28)
    assert_gradients(seeded(lambda: cnn_s(channels), 3), shape, *data(shape), batch=10)


def test_gradients_of_cnn_l():
    assert_gradients(seeded(cnn_l, 2), (3, 32, 32), *data((3, 32, 32)), batch=10)


ODD = {
    "kernels of all widths": (
        (2, 40, 47),
        lambda: [
            *(nn.Conv2d(2, 5, (3, 7)), nn.Tanh(), nn.Conv2d(5, 7, (1, 6), bias=False), nn.MaxPool2d(2), nn.Tanh()),
            *(nn.Conv2d(7, 3, (4, 1)), nn.Conv2d(3, 9, (2, 11)), nn.ReLU(), nn.Conv2d(9, 2, 4), nn.Flatten()),
            *(nn.Linear(120, 3, bias=False),),
        ],
    ),
    "pools of other sizes": (
        (1, 29, 23),
        lambda: [
            *(nn.Conv2d(1, 6, 3, bias=False), nn.MaxPool2d(3), nn.GELU(), nn.Conv2d(6, 4, 2), nn.Tanh()),
            *(nn.MaxPool2d((2, 1)), nn.Flatten(), nn.Linear(96, 11), nn.Identity(), nn.SiLU(), nn.Linear(11, 5)),
        ],
    ),
    "pool and activation first": (
        (3, 13, 13),
        lambda: [nn.MaxPool2d(2), nn.Tanh(), nn.Conv2d(3, 11, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(44, 5)],
    ),
    "many channels": (
        (24, 9, 12),
        lambda: [nn.Conv2d(24, 40, 3), nn.Conv2d(40, 17, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(51, 5)],
    ),
    "linear layers only": (
        (1, 7, 9),
        lambda: [nn.Flatten(), nn.Linear(63, 33), nn.Tanh(), nn.Linear(33, 17), nn.Sigmoid(), nn.Linear(17, 2)],
    ),
    "one layer": ((1, 3, 3), lambda: [nn.Flatten(), nn.Linear(9, 2)]),
    "convolution to logits": ((1, 6, 5), lambda: [nn.Conv2d(1, 3, (6, 5)), nn.Flatten()]),
}


@pytest.mark.parametrize("name", ODD)
def test_gradients_of_odd_networks(name):
    shape, layers = ODD[name]
    models = seeded(lambda: nn.Sequential(*layers()), 3)
    classes = models[0](torch.zeros(1, *shape)).shape[1]
    assert lanes.supported(models[0], shape) is None
    assert_gradients(models, shape, *data(shape, classes=classes))


@pytest.mark.parametrize("fused", [True, False])
def test_max_pool_sends_the_gradient_to_the_first_maximum(fused):
    """Ties: the convolution gives one pixel of each patch, 0 or 1; its other taps show where the gradient went."""
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.MaxPool2d(2) if fused else nn.MaxPool2d((2, 3)),
        nn.Flatten(),
        nn.Linear(8 if fused else 4, 3),
    )
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[:, 0, 1, 1] = 1
        model[0].bias.zero_()
    images = torch.randint(2, (40, 1, 6, 6), generator=torch.Generator().manual_seed(0)).float()
    assert_gradients([model], (1, 6, 6), images, torch.randint(3, (40,)), batch=40)


def test_relu_at_zero_passes_no_gradient():
    model = small(nn.ReLU())
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].bias.zero_()
    engine = pack([model], (2, 6, 6))
    gradients, _ = engine.gradients(*data((2, 6, 6), classes=4), np.arange(5)[None])
    assert not gradients[0, : model[0].weight.numel() + 3].any()


@pytest.mark.parametrize("pool", [(2, 2), (3, 2)], ids=["fused", "not fused"])
def test_nan_spreads_as_in_pytorch(pool):
    """A NaN pixel wins its windows and reaches everything; a NaN logit leaves alone what a ReLU has switched off."""
    shape = (1, 8, 8)
    features = 4 if pool == (2, 2) else 2
    [model] = seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(1, 4, 3), nn.MaxPool2d(pool), nn.ReLU(), nn.Conv2d(4, 2, (2, 2)), nn.ReLU(), nn.Flatten()),
            nn.Linear(2 * features, 3),
        ),
        1,
    )
    x, y = data(shape, classes=3)
    with torch.no_grad():
        model[0].bias[1] = -1e3

    def compare(images: Tensor) -> np.ndarray:
        gradient, loss = pack([model], shape).gradients(images, y, np.arange(6)[None])
        expected = F.cross_entropy(model(images[:6]), y[:6])
        reference = torch.cat([g.flatten() for g in torch.autograd.grad(expected, list(model.parameters()))]).numpy()
        np.testing.assert_array_equal(np.isnan(gradient[0]), np.isnan(reference))
        assert np.isnan(loss[0]) == np.isnan(expected.item())
        return np.isnan(reference)

    assert not compare(x).any()
    for row, column in [(0, 0), (0, 7), (7, 0), (7, 7), (4, 4)]:  # a corner's NaN is at one position of its window
        broken = x.clone()
        broken[3, 0, row, column] = torch.nan
        assert compare(broken).any()
    with torch.no_grad():
        model[-1].weight[0, 0] = torch.nan
    assert 0 < compare(x).sum() < len(flat(model))


# ----------------------------------------------------------------------------------------------------------- training

LRS, DECAYS, RATES = (1e-3, 3e-4, 2e-3), (0.0, 1e-3, 1e-2), (0.0, 0.3, 0.5)
OPTIMIZERS = {
    "adam": dict(optimizer="adam"),
    "adam, other constants": dict(optimizer="adam", betas=(0.8, 0.99), eps=1e-6),
    "sgd": dict(optimizer="sgd", lr=(0.05, 0.01, 0.02)),
    "sgd, momentum": dict(optimizer="sgd", lr=(0.01, 0.005, 0.01), momentum=(0.9, 0.5, 0.0)),
    "sgd, nesterov": dict(optimizer="sgd", lr=(0.01, 0.005, 0.01), momentum=(0.9, 0.5, 0.8), nesterov=True),
    "rmsprop": dict(optimizer="rmsprop", lr=(1e-4, 3e-4, 1e-4)),
    "rmsprop, momentum": dict(
        optimizer="rmsprop", lr=(1e-4, 1e-4, 1e-4), momentum=(0.9, 0.5, 0.0), alpha=0.9, eps=1e-6
    ),
}
TRAINED = (1, 12, 12)
KEYS = np.array([11, 2**40 + 7, 2**64 - 1], dtype=np.uint64)


def trained_network() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Tanh(), nn.Dropout(), nn.Conv2d(4, 6, 2), nn.Dropout(), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(96, 12), nn.GELU(), nn.Dropout(), nn.Linear(12, 10)),
    )


def torch_optimizer(model: nn.Module, k: int, optimizer: str, lr=LRS, momentum=(0.0,) * 3, **options):
    if optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr[k], weight_decay=DECAYS[k], **options)
    kind = torch.optim.SGD if optimizer == "sgd" else torch.optim.RMSprop
    return kind(model.parameters(), lr=lr[k], weight_decay=DECAYS[k], momentum=momentum[k], **options)


@cache
def torch_trained(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters after 4 epochs of 25 batches, the last of 4 images, and the last loss and count of right ones."""
    x, y = data(TRAINED, n=244)
    parameters, losses, correct = [], [], []
    for k, model in enumerate(seeded(trained_network, 3)):
        optimizer, step = torch_optimizer(model, k, **OPTIMIZERS[name]), 0
        for epoch in range(4):
            total, right = 0.0, 0
            for batch in permutations(3, 244, seed=epoch)[k].split(10):
                optimizer.zero_grad()
                logits = logits_with_masks(model, x[batch], int(KEYS[k]), step, RATES[k])
                loss = F.cross_entropy(logits, y[batch])
                loss.backward()
                optimizer.step()
                step += 1
                total += loss.item() * len(batch)
                right += int((logits.argmax(1) == y[batch]).sum())
        parameters.append(flat(model))
        losses.append(total / 244)
        correct.append(right)
    return np.stack(parameters), np.array(losses), np.array(correct)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_hundred_steps_of_every_optimizer(name):
    x, y = data(TRAINED, n=244)
    options = dict(lr=LRS, weight_decay=DECAYS, dropout=RATES) | OPTIMIZERS[name]
    engine = pack(seeded(trained_network, 3), TRAINED, **options)
    for epoch in range(4):
        found = engine.train_epoch(x, y, permutations(3, 244, seed=epoch), 10, KEYS)
    parameters, losses, correct = torch_trained(name)
    assert engine.step == 100
    assert np.abs(parameters - np.stack([flat(m) for m in seeded(trained_network, 3)])).max() > 0.01
    np.testing.assert_allclose(engine.parameters, parameters, rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(found.loss, losses, rtol=1e-4)
    np.testing.assert_array_equal(found.correct, correct)


def test_training_reads_memory_mapped_images(tmp_path):
    x, y = data(TRAINED, n=50)
    x.numpy().tofile(tmp_path / "images")
    mapped = torch.from_file(str(tmp_path / "images"), size=x.numel()).view(x.shape)
    engines = [pack(seeded(trained_network, 2), TRAINED) for _ in range(2)]
    for engine, images in zip(engines, (x, mapped), strict=True):
        engine.train_epoch(images, y, permutations(2, 50), 10)
    np.testing.assert_array_equal(engines[0].parameters, engines[1].parameters)


@pytest.mark.parametrize(
    "options", [dict(optimizer="adam"), dict(optimizer="sgd", momentum=0.9), dict(optimizer="rmsprop")]
)
def test_resuming_is_exact(options):
    x, y = data(TRAINED, n=64)
    whole = pack(seeded(trained_network, 3), TRAINED, dropout=0.4, **options)
    first = pack(seeded(trained_network, 3), TRAINED, dropout=0.4, **options)
    for epoch in range(3):
        whole.train_epoch(x, y, permutations(3, 64, seed=epoch), 10, KEYS)
    first.train_epoch(x, y, permutations(3, 64, seed=0), 10, KEYS)
    resumed = lanes.Engine(trained_network(), TRAINED, 3, dropout=0.4, **options)
    resumed.parameters, resumed.optimizer_state = first.parameters, first.optimizer_state
    for epoch in (1, 2):
        resumed.train_epoch(x, y, permutations(3, 64, seed=epoch), 10, KEYS)
    np.testing.assert_array_equal(resumed.parameters, whole.parameters)
    for name, value in whole.optimizer_state.items():
        np.testing.assert_array_equal(resumed.optimizer_state[name], value)


# ---------------------------------------------------------------------------------------- independence from the pack


@pytest.mark.parametrize("network", ["cnn-s", "odd"])
def test_a_model_does_not_depend_on_its_pack(network):
    """Alone, among 37, in reverse, beside models that diverge: the same bit for bit."""
    make, shape = (lambda: cnn_s(rate=0.5), (1, 28, 28)) if network == "cnn-s" else (trained_network, TRAINED)
    count, n = 37, 25
    models, (x, y) = seeded(make, count), data(shape, n=n)
    parameters = np.stack([flat(m) for m in models])
    orders, keys = permutations(count, n).numpy(), np.arange(count, dtype=np.uint64) * 977
    lr, decay = np.linspace(1e-4, 1e-2, count), np.linspace(0, 1e-2, count)
    rates = np.linspace(0, 0.8, count)

    def train(chosen: list[int], diverging: tuple[int, ...] = ()) -> list[np.ndarray]:
        engine = lanes.Engine(
            make(), shape, len(chosen), lr=lr[chosen], weight_decay=decay[chosen], dropout=rates[chosen]
        )
        start = parameters[chosen]
        for k in diverging:
            start[k] = [np.nan, np.inf, 1e38][k % 3]
        engine.parameters = start
        trained = engine.train_epoch(x, y, orders[chosen], 10, keys[chosen])
        gradients, _ = engine.gradients(x, y, orders[chosen][:, :3], keys[chosen])
        evaluation = engine.evaluate(x, y, deviations=1e4)
        found: list[Any] = [
            *(engine.parameters, engine.optimizer_state["exp_avg_sq"], *trained, gradients, evaluation.loss),
            *(evaluation.correct, evaluation.tie_tolerance, np.array([len(ties) for ties in evaluation.near_ties])),
        ]
        return found

    everyone = list(range(count))
    together = train(everyone)
    assert all(np.isfinite(a).all() for a in together)
    # of a group of up to half as many models as lanes, each has several lanes for the samples of its batches
    few = [everyone[size : 2 * size] for size in (2, 3, 5, 6, 9, 12)]
    for chosen in ([0], [5], [36], *few, everyone[::-1], everyone[20:], [7] * 18):
        for among, alone in zip(together, train(chosen), strict=True):
            np.testing.assert_array_equal(among[chosen], alone)
    diverging = (0, 4, 17, 35)
    sound = [k for k in everyone if k not in diverging]
    for among, beside in zip(together, train(everyone, diverging), strict=True):
        np.testing.assert_array_equal(among[sound], beside[sound])


# ------------------------------------------------------------------------------------------------------------ dropout


def test_philox_gives_the_published_numbers():
    """Known answers of Random123."""
    zeros, ones = np.zeros(4, dtype=np.uint32), np.full(4, 2**32 - 1, dtype=np.uint32)
    assert [f"{w:08x}" for w in philox(zeros, 0)] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]
    assert [f"{w:08x}" for w in philox(ones, 2**64 - 1)] == ["408f276d", "41c83b0e", "a20bc7c6", "6d5451fd"]


def test_kernels_draw_the_documented_masks(variant):
    kernels = library.load(variant)
    width, n, sample, layer, step = kernels.lanes, 101, 3, 2, 2**33 + 5
    keys = np.random.default_rng(0).integers(2**64, size=width, dtype=np.uint64)
    rates = np.linspace(0, 0.9, width).astype(np.float32)
    out = np.empty((n, width), dtype=np.float32)
    kernels.library.lanes_dropout_factors(
        keys.ctypes.data_as(library.KEYS), rates.ctypes.data_as(library.FLOATS), step, layer, sample, n,
        out.ctypes.data_as(library.FLOATS),
    )  # fmt: skip
    for lane in range(width):
        mask = lanes.dropout_mask(int(keys[lane]), step, layer, sample + 1, (n,), float(rates[lane]))
        np.testing.assert_array_equal(out[:, lane], mask[sample])


def test_dropout_masks_are_random():
    """Rates within 5 standard deviations; masks of other keys, steps, layers and samples are uncorrelated."""
    shape, rate = (8, 12, 12), 0.3
    base = dict(key=5, step=9, layer=1)
    masks = [
        lanes.dropout_mask(batch=10, shape=shape, rate=rate, **base | change).reshape(10, -1) == 0
        for change in ({}, {"key": 6}, {"key": 5 + 2**32}, {"step": 10}, {"step": 9 + 2**32}, {"layer": 0})
    ]
    size = 10 * prod(shape)
    for mask in masks:
        assert abs(mask.mean() - rate) < 5 * (rate * (1 - rate) / size) ** 0.5
    rows = np.concatenate(masks).astype(float)
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 5.5 / prod(shape) ** 0.5
    neighbours = np.corrcoef(rows[:, :-1].ravel(), rows[:, 1:].ravel())[0, 1]
    assert abs(neighbours) < 5 / rows.size**0.5


def test_dropout_at_rate_zero_changes_nothing():
    x, y = data(TRAINED)
    engine = pack(seeded(trained_network, 3), TRAINED, dropout=0.0)
    without, _ = engine.gradients(x, y, permutations(3, 40)[:, :5])
    with_keys, _ = engine.gradients(x, y, permutations(3, 40)[:, :5], KEYS)
    np.testing.assert_array_equal(without, with_keys)


def test_dropout_rates_may_differ_by_layer():
    x, y = data(TRAINED)
    rates = (0.0, 0.5, 0.25)
    model = trained_network()
    for layer, rate in zip((layer for layer in model if isinstance(layer, nn.Dropout)), rates, strict=True):
        layer.p = rate
    own, given = pack([model], TRAINED), pack([model], TRAINED, dropout=[rates])
    assert own.dropout.tolist() == [list(rates)]
    indices = np.arange(6)[None]
    np.testing.assert_array_equal(own.gradients(x, y, indices, [3])[0], given.gradients(x, y, indices, [3])[0])


# --------------------------------------------------------------------------------------------------------- evaluation


@pytest.mark.parametrize("network", ["cnn-s", "cnn-l", "linear", "pool first"])
def test_evaluation(network):
    make, shape = {
        "cnn-s": (lambda: cnn_s(rate=0.5), (1, 28, 28)),
        "cnn-l": (lambda: cnn_l(nn.GELU, 0.5), (3, 32, 32)),
        "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 10)), (1, 3, 3)),
        "pool first": (lambda: nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9, 10)), (1, 6, 7)),
    }[network]
    models, (x, y) = seeded(make, 3), data(shape, n=150)
    result = pack(models, shape).evaluate(x, y, deviations=0)
    for k, model in enumerate(models):
        with torch.no_grad():
            logits = model.eval()(x)
        np.testing.assert_allclose(result.loss[k], F.cross_entropy(logits, y).item(), rtol=1e-5)
        assert result.correct[k] == (logits.argmax(1) == y).sum()


@pytest.mark.parametrize("count", [1, 5, 19])
def test_outputs(count):
    models, (x, _) = seeded(lambda: cnn_s(rate=0.5), count), data((1, 28, 28), n=21)
    outputs = pack(models, (1, 28, 28)).outputs(x)
    with torch.no_grad():
        expected = torch.stack([model.eval()(x) for model in models])
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def constant_logits(*logits: float) -> nn.Sequential:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, len(logits)))
    with torch.no_grad():
        model[1].weight.zero_()
        model[1].bias.copy_(torch.tensor(logits))
    return model


@pytest.mark.parametrize(
    "logits",
    [
        (0.0, torch.nan, 3.0, torch.nan),
        (torch.nan, 1.0, torch.inf, 0.0),
        (torch.inf, 1.0, torch.inf, 0.0),
        (-torch.inf, -1.0, -1.0, -torch.inf),
        (-torch.inf, -torch.inf, -torch.inf, -torch.inf),
        (1.0, 2.0, 2.0, 0.0),
    ],
)
def test_argmax_is_pytorchs(logits):
    x, y = data((1, 2, 2), n=12, classes=4)
    result = pack([constant_logits(*logits)], (1, 2, 2)).evaluate(x, y, deviations=0)
    outputs = torch.tensor(logits).expand(12, 4)
    assert result.correct[0] == (outputs.argmax(1) == y).sum()
    np.testing.assert_allclose(result.loss[0], F.cross_entropy(outputs, y).item(), rtol=1e-6)


def test_near_ties_are_told_with_what_their_logits_are():
    """Logits that don't depend on the image: all images are near ties or none, and their logits are the same."""
    models = [constant_logits(0, 1, 1 + 2**-23), constant_logits(-1, 1, 1.001), constant_logits(1e6, 0, 1e6 + 0.25)]
    x, y = data((1, 2, 2), n=30, classes=3)
    result = pack(models, (1, 2, 2)).evaluate(x, y)
    assert [len(ties) for ties in result.near_ties] == [30, 0, 30]
    assert [len(set(logits)) for logits in result.near_tie_logits] == [1, 0, 1]
    assert result.near_tie_logits[0][0] != result.near_tie_logits[2][0]


def test_near_ties_are_the_right_images():
    models, (x, y) = seeded(cnn_s, 2), data((1, 28, 28), n=60)
    result = pack(models, (1, 28, 28)).evaluate(x, y, deviations=2e4)
    for k, model in enumerate(models):
        with torch.no_grad():
            logits = model(x)
        top = logits.topk(2).values
        is_tie = top[:, 0] - top[:, 1] < torch.from_numpy(result.tie_tolerance[k])
        assert 0 < is_tie.sum() < 60
        assert result.near_ties[k].tolist() == is_tie.nonzero()[:, 0].tolist()
        assert len(set(result.near_tie_logits[k])) == is_tie.sum()
        right = (logits.argmax(1) == y) & ~is_tie
        assert result.correct[k] == right.sum()


@pytest.mark.parametrize("act", ACTIVATIONS)
@pytest.mark.parametrize("init", [nn.init.kaiming_uniform_, nn.init.normal_, nn.init.uniform_])
def test_rounding_errors_are_within_the_tolerance(act, init):
    """PyTorch's, of the difference between the best two logits, on untrained and saturated networks.

    On images of all scales, and black ones but for a pixel: an image's tolerance follows from itself.
    """
    models, (x, y) = seeded(lambda: cnn_s(act=act), 2), data((1, 28, 28), n=210)
    x *= torch.logspace(-3, 4, 7).repeat(30)[:, None, None, None]
    x[-30:, :, 1:] = 0
    x[-30:, :, :, 1:] = 0
    for model in models:
        for parameter in model.parameters():
            if parameter.dim() > 1:
                init(parameter)
    tolerance = pack(models, (1, 28, 28)).evaluate(x, y).tie_tolerance
    for k, model in enumerate(models):
        with torch.no_grad():
            logits, exact = model(x), copy.deepcopy(model).double()(x.double())
        best = exact.topk(2).indices
        error = (logits - exact).gather(1, best).diff()[:, 0].abs()
        assert (2 * error.numpy() < tolerance[k]).all()  # the engine has such an error, too


def twins(scale: float) -> nn.Sequential:
    """A network whose first two logits differ by little more than rounding, and are above all others."""
    model = cnn_s(act=nn.ReLU)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, scale)
        last: Any = model[-1]
        last.bias.fill_(-1e-3)
        last.bias[:2] = 0
        last.weight[1] = last.weight[0] * (1 + 3e-7 * torch.randn(last.in_features))
        last.weight[2:] = 0
    return model


@pytest.mark.parametrize("brightest", [1e3, 1e4])
def test_near_ties_are_seen_among_images_of_different_scale(brightest):
    """Where the engine and PyTorch choose otherwise, the image is a near tie: PyTorch is asked."""
    torch.manual_seed(0)
    models, (x, y) = [twins(scale) for scale in (0.05, 0.1, 0.3)], data((1, 28, 28), n=200, classes=2)
    x[16:] *= brightest
    result = pack(models, (1, 28, 28)).evaluate(x, y)
    for k, model in enumerate(models):
        with torch.no_grad():
            right = (model(x).argmax(1) == y).numpy()
        ties = result.near_ties[k]
        assert result.correct[k] == right.sum() - right[ties].sum()


def test_an_image_does_not_decide_what_others_near_ties_are():
    models, (x, y) = seeded(cnn_s, 2), data((1, 28, 28), n=40)
    alone = pack(models, (1, 28, 28)).evaluate(x[16:], y[16:]).tie_tolerance
    x[:16] *= 1e6
    np.testing.assert_array_equal(pack(models, (1, 28, 28)).evaluate(x, y).tie_tolerance[:, 16:], alone)


# ------------------------------------------------------------------------------------------------ what is not possible


@pytest.mark.parametrize(
    ("layers", "why"),
    [
        ([nn.Conv2d(1, 2, 3, stride=2), nn.Flatten()], "stride"),
        ([nn.Conv2d(1, 2, 3, padding=1), nn.Flatten()], "padding"),
        ([nn.Conv2d(1, 2, 3, padding="same"), nn.Flatten()], "padding"),
        ([nn.Conv2d(1, 2, 3, dilation=2), nn.Flatten()], "dilation"),
        ([nn.Conv2d(2, 2, 3, groups=2), nn.Flatten()], "does not fit"),
        ([nn.Conv2d(1, 2, 9), nn.Flatten()], "larger"),
        ([nn.Conv2d(1, 2, 3), nn.MaxPool2d(3, stride=1), nn.Flatten()], "stride"),
        ([nn.Conv2d(1, 2, 3), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten()], "ceil_mode"),
        ([nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten()], "BatchNorm2d"),
        ([nn.Conv2d(1, 2, 3), nn.GELU("tanh"), nn.Flatten()], "GELU"),
        ([nn.Conv2d(1, 2, 3), nn.Linear(6, 2)], "flat"),
        ([nn.Conv2d(1, 2, 3)], "flat"),
        ([nn.Flatten()], "no parameters"),
        ([nn.Flatten(), nn.Linear(64, 4), nn.Softmax(1)], "Softmax"),
        ([nn.Dropout(1.0), nn.Flatten(), nn.Linear(64, 4)], "rate"),
    ],
)
def test_unsupported_stacks_are_refused_with_a_reason(layers, why):
    reason = lanes.supported(layers, (1, 8, 8))
    assert reason is not None and why in reason
    with pytest.raises(lanes.Unsupported, match=why):
        lanes.Engine(layers, (1, 8, 8), 2)


def test_wrong_input_is_refused():
    x, y = data(TRAINED)
    model, orders = trained_network(), permutations(3, 40)
    engine = pack([model] * 3, TRAINED)
    for call_, message in [
        (lambda: lanes.Engine(model, TRAINED, 0), "at least 1"),
        (lambda: lanes.Engine(model, TRAINED, 3, "adagrad"), "unknown optimizer"),
        (lambda: lanes.Engine(model, TRAINED, 3, lr=[1, 2]), r"lr must be a number or \[3\]"),
        (lambda: lanes.Engine(model, TRAINED, 3, weight_decay=-1), "not negative"),
        (lambda: lanes.Engine(model, TRAINED, 3, dropout=1.0), r"in \[0, 1\)"),
        (lambda: lanes.Engine(model, TRAINED, 3, dropout=[0.1, 0.2]), "dropout must be"),
        (lambda: lanes.Engine(model, TRAINED, 3, "sgd", nesterov=True), "nesterov"),
        (lambda: lanes.Engine(model, TRAINED, 3, momentum=0.9), "Adam"),
        (lambda: setattr(engine, "parameters", np.zeros((3, 7))), r"parameters must be \[3, "),
        (lambda: setattr(engine, "optimizer_state", {"step": 1}), "exp_avg"),
        (lambda: engine.train_epoch(x[:, :, 1:], y, orders, 10), "images must be"),
        (lambda: engine.train_epoch(x.double(), y, orders, 10), "float32"),
        (lambda: engine.train_epoch(x.transpose(2, 3), y, orders, 10), "contiguous"),
        (lambda: engine.train_epoch(x, y + 1, orders, 10), "labels must be"),
        (lambda: engine.train_epoch(x, y[1:], orders, 10), "labels must be"),
        (lambda: engine.train_epoch(x, y, orders + 1, 10), "orders must be"),
        (lambda: engine.train_epoch(x, y, orders[:2], 10), "orders must be"),
        (lambda: engine.train_epoch(x, y, orders, 0), "batch_size"),
        (lambda: engine.train_epoch(x, y, orders, 10, [1, 2]), "dropout_keys"),
    ]:
        with pytest.raises(ValueError, match=message):
            call_()


def test_the_engine_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("ZOO_LANES", "off")
    assert not lanes.available() and "ZOO_LANES=off" in lanes.reason()
    with pytest.raises(RuntimeError, match="ZOO_LANES=off"):
        lanes.Engine(cnn_s(), (1, 28, 28), 1)
    monkeypatch.setenv("ZOO_LANES", "avx1024")
    assert "choose from" in lanes.reason()


# ---------------------------------------------------------------------------------------- the kernels and their sources


@pytest.fixture
def loaded_anew() -> Iterator[None]:
    """Whatever this test loads is loaded for it alone."""
    library.load.cache_clear()
    yield
    library.load.cache_clear()


def assert_refused(found: str) -> None:
    assert not lanes.available() and lanes.variants() == []
    reason = lanes.reason()
    assert reason is not None and "\n" not in reason
    assert found in reason and "pip install --editable ." in reason
    with pytest.raises(RuntimeError, match="reinstall"):
        lanes.Engine(cnn_s(), (1, 28, 28), 1)


@pytest.mark.parametrize("forced", [True, False])
def test_kernels_of_other_sources_are_refused(forced, loaded_anew, monkeypatch):
    built_from = library.sources.expected(library.PACKAGE)
    monkeypatch.setattr(library.sources, "expected", lambda package: "0123456789abcdef")
    if not forced:
        monkeypatch.delenv("ZOO_LANES")
    assert_refused(f"are built from sources {built_from}, and the sources here are 0123456789abcdef:")


def test_kernels_that_describe_nothing_are_refused(loaded_anew, monkeypatch):
    """Those of version 0.1.0."""
    monkeypatch.setattr(library.ctypes, "CDLL", lambda path: SimpleNamespace(lanes_cpu_level=lambda: 2))
    assert_refused("are of version 0.1.0")


def test_a_slower_variant_does_not_replace_a_stale_one_without_a_word(loaded_anew, monkeypatch):
    if len(VARIANTS) == 1:
        pytest.skip("there is one variant only")
    fastest, describe = VARIANTS[0], library.describe

    def describe_stale(loaded, variant):
        if variant == fastest:
            raise library.stale(variant, "built from others", "x")
        return describe(loaded, variant)

    monkeypatch.setattr(library, "describe", describe_stale)
    monkeypatch.delenv("ZOO_LANES")
    assert not lanes.available() and "built from others" in lanes.reason()
    monkeypatch.setenv("ZOO_LANES", VARIANTS[1])
    assert lanes.available()


def test_the_digest_of_the_sources_tells_any_change(tmp_path):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "a.cpp").write_text("1")
    (tmp_path / "kernels" / "b.h").write_text("2")
    digests = [sources.digest(tmp_path)]
    (tmp_path / "notes.txt").write_text("no source")
    assert sources.digest(tmp_path) == digests[0]
    (tmp_path / "kernels" / "b.h").write_text("3")
    digests.append(sources.digest(tmp_path))
    (tmp_path / "kernels" / "b.h").rename(tmp_path / "b.h")
    digests.append(sources.digest(tmp_path))
    assert len(set(digests)) == 3


def test_the_record_of_the_build_is_expected_or_else_the_sources(tmp_path):
    assert sources.expected(tmp_path) is None
    (tmp_path / sources.SOURCES).mkdir()
    assert sources.expected(tmp_path) == sources.digest(tmp_path / sources.SOURCES)
    (tmp_path / sources.RECORD).write_text("0123\n")
    assert sources.expected(tmp_path) == "0123"


def test_both_languages_know_the_same_names(variant):
    numbers = library.load(variant).numbers
    assert set(numbers["Optimizer"]) == set(STATE)
    assert set(numbers["Activation"]) == {"none", *ACTIVATION_NAMES.values()}
    assert set(numbers["State"]) == {"parameters"} | {where for state in STATE.values() for where in state.values()}
    for table in numbers.values():
        assert sorted(table.values()) == list(range(len(table)))


def test_structures_lie_in_memory_as_the_kernels_say(variant):
    structures = library.load(variant).structures
    assert [field[0] for field in structures["LayerSpec"]._fields_][:2] == ["kind", "outputs"]
    with pytest.raises(RuntimeError, match="Broken has 5 bytes, and Python's 4"):
        library.structure("Broken", 5, [("a", "int32")])


def test_the_variant_can_be_forced(variant):
    assert lanes.available()
    assert lanes.Engine(cnn_s(), (1, 28, 28), 1).variant == variant

"""Dropout for training by PyTorch: the engine's masks, so that both engines train the same model."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.engines import lanes
from zoo.engines.lanes.dropout import CountedDropout, DropoutLayer, dropout_mask, torch_masks

KEY = 2**63 + 12345
needs_engine = pytest.mark.skipif(not lanes.available(), reason="the CPU engine was not built here")


@pytest.mark.parametrize("key", [0, 5, 2**40 + 7, 2**64 - 1])
def test_masks_are_those_of_the_reference(key: int) -> None:
    """Of several layers and steps at once: odd sizes, rates that keep nearly all or nothing, steps beyond 32 bits."""
    layers = [
        DropoutLayer(0, (3, 5, 5), 0.5),
        DropoutLayer(2, (7,), 0.999999),
        DropoutLayer(3, (16,), 1e-7),
        DropoutLayer(65535, (2, 9), 0.3),
    ]
    steps = torch.tensor([0, 3, 2**32 - 1, 2**33 + 5])
    for layer, masks in zip(layers, torch_masks(key, steps, layers, 6, torch.device("cpu")), strict=True):
        for step, mask in zip(steps.tolist(), masks, strict=True):
            expected = dropout_mask(key, step, layer.number, 6, layer.shape, layer.rate)
            np.testing.assert_array_equal(mask.numpy(), expected)
            assert mask.dtype == torch.float32


def masks_of(counted: CountedDropout, model: nn.Module, step: int, batch: int, size: int = 5) -> Tensor:
    """What the model makes of ones at that step."""
    with counted.step(step):
        return model(torch.ones(batch, size))


def reference(step: int, layer: int, batch: int, rate: float, size: int = 5) -> Tensor:
    return torch.from_numpy(dropout_mask(KEY, step, layer, batch, (size,), rate))


def test_layers_are_numbered_as_the_engine_numbers_them() -> None:
    """Layers that drop nothing count, subclasses don't."""

    class Other(nn.Dropout):
        def forward(self, x: Tensor) -> Tensor:
            return x

    model = nn.Sequential(nn.Dropout(0.0), Other(0.9), nn.Sequential(nn.Dropout(0.5)), nn.Dropout(0.25))
    counted = CountedDropout(model, KEY)
    for step in (0, 1, 2, 3, 900, 2, 2**33):  # in order, ahead, back
        expected = reference(step, 1, 4, 0.5) * reference(step, 2, 4, 0.25)
        torch.testing.assert_close(masks_of(counted, model, step, 4), expected, rtol=0, atol=0)


def test_batches_and_rates_may_change() -> None:
    model = nn.Dropout(0.5)
    counted = CountedDropout(model, KEY)
    for step, (batch, rate, size) in enumerate([(4, 0.5, 5), (2, 0.5, 5), (9, 0.5, 5), (9, 0.2, 5), (3, 0.2, 8)]):
        model.p = rate
        expected = reference(step, 0, batch, rate, size)
        torch.testing.assert_close(masks_of(counted, model, step, batch, size), expected, rtol=0, atol=0)


def test_a_layer_that_is_applied_twice_draws_anew() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Dropout(0.5), nn.Dropout(0.25)

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.first(x), self.first(x), self.second(x)])

    model = Twice()
    counted = CountedDropout(model, KEY)
    for step in range(3):
        expected = [reference(step, 0, 4, 0.5), reference(step, 2, 4, 0.5), reference(step, 1, 4, 0.25)]
        torch.testing.assert_close(masks_of(counted, model, step, 4), torch.stack(expected), rtol=0, atol=0)


def test_without_training_nothing_is_dropped() -> None:
    model = nn.Sequential(nn.Dropout(0.5)).eval()
    assert (masks_of(CountedDropout(model, KEY), model, 0, 4) == 1).all()


def test_the_type_of_the_input_is_kept() -> None:
    model = nn.Dropout(0.5, inplace=True)
    x = torch.ones(4, 5, dtype=torch.bfloat16)
    with CountedDropout(model, KEY).step(0):
        assert model(x) is x
    assert x.dtype == torch.bfloat16 and set(x.flatten().tolist()) == {0.0, 2.0}


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(5, 5), nn.Dropout(0.5))
    before, keys = dict(vars(model[1])), list(model.state_dict())
    counted = CountedDropout(model, KEY)
    with pytest.raises(RuntimeError, match="inside"), counted.step(0):
        model(torch.ones(2, 5))
        assert list(model.state_dict()) == keys
        raise RuntimeError("inside")
    assert vars(model[1]) == before and "forward" not in vars(model[1])
    pickle.loads(pickle.dumps(copy.deepcopy(model)))


# ------------------------------------------------------------------------------------------------ both engines agree

# Adam divides by the gradient's size: where weight decay happens to cancel a gradient, its step is made of rounding.
# Of these 4,015 parameters that is one, in the first step; a larger eps lets it rest.
OPTIMIZERS = {
    "adam": (torch.optim.Adam, dict(lr=1e-3)),
    "adam, weight decay": (torch.optim.Adam, dict(lr=1e-3, weight_decay=1e-3, eps=1e-4)),
    "sgd": (torch.optim.SGD, dict(lr=0.02, momentum=0.9)),
    "sgd, nesterov": (torch.optim.SGD, dict(lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-3)),
    "rmsprop": (torch.optim.RMSprop, dict(lr=1e-3, momentum=0.5)),
}
SHAPE, BATCH, STEPS = (1, 16, 16), 8, 20


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.MaxPool2d(2), nn.Tanh(), nn.Dropout(0.5)),
        *(nn.Conv2d(6, 5, 2), nn.Tanh(), nn.Dropout(0.5)),
        *(nn.Flatten(), nn.Linear(180, 20), nn.Tanh(), nn.Dropout(0.5), nn.Linear(20, 10)),
    )


def flat(model: nn.Module) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy()


@needs_engine
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twenty_steps_with_dropout_are_the_engines(name: str) -> None:
    kind, options = OPTIMIZERS[name]
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(150, *SHAPE, generator=g), torch.randint(10, (150,), generator=g)
    order = torch.randperm(150, generator=g)  # the last batch has 6 images

    engine = lanes.Engine(network(), SHAPE, 1, kind.__name__.lower(), **options)
    engine.parameters = flat(network())[None]
    for indices in (order, order[:8]):
        engine.train_epoch(x, y, indices[None], BATCH, np.array([KEY], dtype=np.uint64))
    assert engine.step == STEPS

    model = network()
    optimizer, counted = kind(model.parameters(), **options), CountedDropout(model, KEY)
    for step, indices in enumerate((*order.split(BATCH), order[:8])):
        with counted.step(step):
            optimizer.zero_grad()
            F.cross_entropy(model(x[indices]), y[indices]).backward()
            optimizer.step()
    assert step + 1 == STEPS and np.abs(flat(model) - flat(network())).max() > 0.01
    np.testing.assert_allclose(engine.parameters[0], flat(model), rtol=1e-4, atol=1e-6)

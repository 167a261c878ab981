"""What all transforms have in common: they compose, are pickled, say what they are, and draw in any process."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose

from tests.dataset.transforms.networks import made, vector
from zoo.dataset.transforms import Align, Erase, Noise, PermutationSpec, Permute, Standardise, Statistics, Tokenise
from zoo.errors import ZooError
from zoo.format.architecture import Architecture

NETWORK = made("cnn_small")
ARCHITECTURE, SPEC = Architecture.of(NETWORK), PermutationSpec.of(NETWORK)
WEIGHTS = torch.stack([vector(made("cnn_small", seed)) for seed in range(4)])


TRANSFORMS: dict[str, Callable[[], Callable[[Tensor], Any]]] = {
    "Align(PermutationSpec(10 tensors, 2464 numbers, free units: 8, 6, 4, 20), window=False)": lambda: Align(
        SPEC, WEIGHTS[0]
    ),
    "Permute(PermutationSpec(10 tensors, 2464 numbers, free units: 8, 6, 4, 20), window=False)": lambda: Permute(
        SPEC, seed=0
    ),
    "Noise(CNNSmall, 0.1, 'layer')": lambda: Noise(ARCHITECTURE, 0.1, "layer", 0),
    "Erase(CNNSmall, 0.2, 'channels')": lambda: Erase(ARCHITECTURE, 0.2, "channels", 0),
    "Standardise(CNNSmall: 5 layers)": lambda: Standardise(ARCHITECTURE).fit(WEIGHTS),
    "Standardise(CNNSmall: 5 layers, not fitted)": lambda: Standardise(ARCHITECTURE),
    "Statistics(CNNSmall: 70 features)": lambda: Statistics(ARCHITECTURE),
    "Tokenise(CNNSmall: 48 tokens of 201)": lambda: Tokenise(ARCHITECTURE),
}


@pytest.mark.parametrize("text", TRANSFORMS)
def test_a_transform_says_what_it_is(text: str) -> None:
    assert repr(TRANSFORMS[text]()) == text


@pytest.mark.parametrize("text", [text for text in TRANSFORMS if "not fitted" not in text])
def test_a_pickled_transform_does_the_same(text: str) -> None:
    transform = TRANSFORMS[text]()
    copy = pickle.loads(pickle.dumps(transform))
    before = WEIGHTS.clone()
    expected, found = transform(WEIGHTS), copy(WEIGHTS)
    if isinstance(expected, Tensor):
        expected, found = (expected,), (found,)
    assert all(torch.equal(*pair) for pair in zip(expected, found, strict=True))
    assert torch.equal(WEIGHTS, before)  # and nothing was changed in place


@pytest.mark.parametrize("text", [text for text in TRANSFORMS if "not fitted" not in text])
@pytest.mark.filterwarnings("error")
def test_weights_of_any_kind(text: str) -> None:
    transform = TRANSFORMS[text]()
    expected = parts(transform(WEIGHTS))
    for weights in (WEIGHTS.double(), WEIGHTS.clone().requires_grad_()):
        found = parts(TRANSFORMS[text]()(weights))
        assert found[0].dtype == weights.dtype and found[0].requires_grad == weights.requires_grad
        assert torch.allclose(found[0].float(), parts(TRANSFORMS[text]()(WEIGHTS))[0])
    for empty in (WEIGHTS[:0], WEIGHTS[:0, None]):
        assert parts(transform(empty))[0].shape == (*empty.shape[:-1], *expected[0].shape[1:])
    for wrong in (WEIGHTS.numpy(), WEIGHTS.tolist(), torch.tensor(1.0)):
        with pytest.raises(ZooError, match="takes weights"):
            transform(wrong)


def parts(transformed: Any) -> tuple[Tensor, ...]:
    return (transformed,) if isinstance(transformed, Tensor) else tuple(transformed)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Noise(ARCHITECTURE, -0.1), "deviation -0.1: give a number, 0 or more"),
        (lambda: Noise(ARCHITECTURE, float("nan")), "deviation nan"),
        (lambda: Noise(ARCHITECTURE, "x"), "deviation 'x'"),
        (lambda: Erase(ARCHITECTURE, None), "can't erase None"),
        (lambda: Permute(SPEC, seed="x"), "seed='x': give a whole number"),
        (lambda: Tokenise(ARCHITECTURE, 1.5), "width=1.5: give the tokens a width"),
        (lambda: Standardise(ARCHITECTURE).use(torch.zeros(3), torch.ones(3)), r"of \[5\], not \[3\]"),
        (lambda: Tokenise(ARCHITECTURE).inverse(Tokenise(ARCHITECTURE)(WEIGHTS), WEIGHTS[:, 1:]), "2463 numbers"),
    ],
)
def test_nonsense_is_refused(make: Any, error: str) -> None:
    with pytest.raises(ZooError, match=error):
        make()


def test_they_compose() -> None:
    standardise, tokenise = Standardise(ARCHITECTURE).fit(WEIGHTS), Tokenise(ARCHITECTURE)
    composed = Compose([Permute(SPEC, seed=0), Align(SPEC, WEIGHTS[0]), standardise, tokenise])
    found = composed(WEIGHTS[0].expand(3, -1))
    assert torch.equal(found.tokens, tokenise(standardise(WEIGHTS[0])).tokens.expand(3, -1, -1))
    assert "Tokenise(CNNSmall: 48 tokens of 201)" in repr(composed)


class Samples(Dataset[Tensor]):
    def __init__(self, transform: Callable[[Tensor], Any]):
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        return self.transform(WEIGHTS[0])


def loaded(transform: Callable[[Tensor], Any], start: str, seed: int = 5) -> Tensor:
    loader = DataLoader(
        Samples(transform),
        2,
        num_workers=2,
        multiprocessing_context=start,
        generator=torch.Generator().manual_seed(seed),
    )
    return torch.cat(list(loader))


def require_numbers_of_their_own(transform: Callable[[], Callable[[Tensor], Tensor]], start: str) -> None:
    found = loaded(transform(), start)
    assert len(found.unique(dim=0)) == 8
    assert torch.equal(loaded(transform(), start), found)
    assert not torch.equal(loaded(transform(), start, seed=6), found)


@pytest.mark.parametrize("seed", [None, 0])
def test_processes_draw_different_numbers_each_time_the_same(seed: int | None) -> None:
    require_numbers_of_their_own(lambda: Noise(ARCHITECTURE, 0.1, seed=seed), "fork")


def test_transforms_of_one_seed_draw_different_numbers() -> None:
    kept = Erase(ARCHITECTURE, 0.5, seed=0)(WEIGHTS[0]) != 0
    noise = Noise(ARCHITECTURE, 0.1, seed=0)(WEIGHTS[0]) - WEIGHTS[0]
    assert abs(float(noise[kept].mean() - noise[~kept].mean())) < 0.01
    first, again = Noise(ARCHITECTURE, 0.1, seed=0), Noise(ARCHITECTURE, 0.1, seed=0)
    assert torch.equal(first(WEIGHTS), again(WEIGHTS)) and not torch.equal(first(WEIGHTS), first(WEIGHTS))


@pytest.mark.slow
def test_processes_that_are_started_anew_do_as_this_one() -> None:
    tokenise = Tokenise(ARCHITECTURE)
    composed = Compose([Permute(SPEC, seed=0), tokenise])
    loader = DataLoader(Samples(composed), 4, num_workers=2, multiprocessing_context="spawn")
    found = []
    for tokens, mask, positions in loader:
        assert torch.equal(mask, tokenise.mask.expand(4, -1, -1))
        assert torch.equal(positions, tokenise.positions.expand(4, -1, -1))
        found.append(tokenise.inverse(tokens))
    assert len(torch.cat(found).unique(dim=0)) == 8
    assert torch.equal(Align(SPEC, WEIGHTS[0])(torch.cat(found)), WEIGHTS[0].expand(8, -1))

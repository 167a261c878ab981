"""Curvature against whole Hessians, paths against loops, and the annotations of a small zoo."""

import json
import shutil
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call
from torch.nn import functional as F

from zoo import ZooDataset
from zoo.analysis.analysis import Analysis
from zoo.analysis.analyze import analyze
from zoo.analysis.landscape import connectivity, curvature, landscape
from zoo.analysis.landscape.connectivity import Bends, Profile, bent, profile, scores
from zoo.analysis.landscape.curvature import Losses
from zoo.analysis.outputs import States
from zoo.data.images import Split
from zoo.disk import paths
from zoo.format.architecture import Architecture

SMALL = {
    "images": 8,
    "batch": 8,
    "iterations": 12,
    "tolerance": 0.1,
    "probes": 2,
    "path_images": 12,
    "points": 3,
    "cka_images": 6,
}


def network() -> nn.Module:
    """Of 48 parameters, and buffers between them: 20 of the convolution, 4 of the norm, 24 of the linear layer."""
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(1, 2, 3),
            norm=nn.BatchNorm2d(2),
            act=nn.Tanh(),
            flat=nn.Flatten(),
            out=nn.Linear(8, 3, bias=False),
        )
    ).eval()


@pytest.fixture(scope="module")
def losses() -> Losses:
    """Three such models, on seven images in batches of three."""
    made = network()
    architecture = Architecture.of(made)
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(3, architecture.length, generator=generator)
    for entry in architecture.tensors:
        if entry.kind == "buffer":
            weights[:, entry.start : entry.start + entry.length].abs_().add_(0.5)
    images = torch.randn(7, 1, 4, 4, generator=generator)
    return Losses(made, architecture, weights, Split(images, torch.arange(7) % 3), 3)


def hessians(losses: Losses) -> Tensor:
    """[models, 48, 48], whole, by autograd, one model after another, on all images at once."""
    found = []
    for vector in losses.weights:
        state = losses.architecture.unflatten(vector, 0)
        trained = {name: state[name] for name, _ in losses.network.named_parameters()}

        def loss(flat: Tensor, state: dict[str, Tensor] = state, trained: dict[str, Tensor] = trained) -> Tensor:
            pieces = flat.split([value.numel() for value in trained.values()])
            pieces = [piece.view(like.shape) for piece, like in zip(pieces, trained.values(), strict=True)]
            own = dict(zip(trained, pieces, strict=True))
            return F.cross_entropy(
                functional_call(losses.network, state | own, (losses.split.images,)), losses.split.labels
            )

        found.append(hessian(loss, torch.cat([value.flatten() for value in trained.values()])))
    return torch.stack(found)


def test_products_with_the_hessian(losses: Losses) -> None:
    vectors = torch.randn(3, losses.parameters, generator=torch.Generator().manual_seed(1))
    whole = hessians(losses)
    expected = torch.einsum("mpq,mq->mp", whole, vectors)
    torch.testing.assert_close(losses.hessian_times(vectors), expected, rtol=1e-3, atol=1e-5)


def test_the_top_eigenvalue_is_the_whole_hessians(losses: Losses) -> None:
    expected = torch.linalg.eigvalsh(hessians(losses).double())[:, -1]
    found, error = curvature.top_eigenvalues(losses, iterations=48, tolerance=1e-4, seed=0)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert (error <= 1e-4 * found.abs() + 1e-6).all()
    rough, bound = curvature.top_eigenvalues(losses, iterations=3, tolerance=0, seed=0)
    assert ((rough - expected).abs() <= bound + 1e-4).all() and (bound > 1e-4).any()


def test_the_trace_is_estimated_with_its_error(losses: Losses) -> None:
    expected = torch.einsum("mpp->m", hessians(losses).double())
    found, error = curvature.traces(losses, probes=100, seed=0)
    assert ((found - expected).abs() < 4 * error).all() and (error < 0.2 * expected.abs().max()).all()


def test_sharpness_is_a_step_along_the_gradient(losses: Losses) -> None:
    gradients = losses.gradients()
    steps = 0.05 * gradients / gradients.norm(dim=1, keepdim=True)
    expected = losses.moved(steps).values() - losses.values()
    torch.testing.assert_close(curvature.sharpness(losses, 0.05), expected)
    torch.testing.assert_close(expected, 0.05 * gradients.norm(dim=1), rtol=0.3, atol=1e-3)  # to first order
    assert losses.moved(steps).weights[:, 24:].equal(losses.weights[:, 24:]) is False
    buffers = [entry for entry in losses.architecture.tensors if entry.kind == "buffer"]
    for entry in buffers:
        part = slice(entry.start, entry.start + entry.length)
        assert losses.moved(steps).weights[:, part].equal(losses.weights[:, part])


def test_barriers_and_connectivity() -> None:
    values = np.array([[0.1, 0.5, 0.3], [0.2, 0.0, 0.2], [0.0, 0.5, 1.0]])
    along = Profile(values, values)
    np.testing.assert_allclose(along.barrier("loss"), [0.3, 0, 0])
    # Yang et al. 2021: below 0 with a barrier, above where the path leads through better models
    np.testing.assert_allclose(along.connectivity("error"), [-0.3, 0.2, 0.5])


def test_a_profile_is_of_the_weights_between(losses: Losses) -> None:
    first, second = losses.weights[:1], losses.weights[1:2]
    along = profile(losses.network, losses.architecture, connectivity.line(first, second), 3, losses.split)
    middle = (first + second)[0] / 2
    with torch.no_grad():
        logits = functional_call(losses.network, losses.architecture.unflatten(middle, 0), (losses.split.images,))
    assert along.loss[0, 1] == pytest.approx(F.cross_entropy(logits, losses.split.labels).item(), rel=1e-5)
    assert along.error[0, 1] == pytest.approx((logits.argmax(1) != losses.split.labels).double().mean().item())
    assert along.loss[0, 0] == pytest.approx(losses.values()[0].item(), rel=1e-5)


def test_a_bent_path_has_less_loss_and_the_same_ends(losses: Losses) -> None:
    first, second = losses.weights[:2], losses.weights[1:]
    bends = Bends(points=9, steps=150, batch=7, lr=0.05, seed=0)
    middle = bent(losses.network, losses.architecture, first, second, losses.split, bends)
    curve, straight = connectivity.bezier(first, middle, second), connectivity.line(first, second)
    torch.testing.assert_close(curve(0.0), first)
    torch.testing.assert_close(curve(1.0), second)
    before, after = (
        profile(losses.network, losses.architecture, path, 9, losses.split).loss for path in (straight, curve)
    )
    assert (after.mean(1) < before.mean(1)).all()


@pytest.fixture(scope="module")
def annotated(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = shutil.copytree(zoo, tmp_path_factory.mktemp("landscape") / "tiny")
    assert analyze(own, [Analysis("landscape", landscape.analyze, SMALL)], own) == {}
    return own


def test_a_zoo_is_annotated(annotated: Path) -> None:
    models = ZooDataset(annotated).models
    columns = [column for column in models if column.startswith("landscape.")]
    assert len(columns) > 20 and models[columns].notna().all().all()
    pairs = pd.read_csv(paths.table(paths.analysis(annotated, "landscape"), "pairs"))
    rates = models["model.dropout"].to_numpy()
    assert (rates[pairs["id"]] == rates[pairs["sibling"]]).all()
    degree = pd.concat([pairs["id"], pairs["sibling"]]).value_counts()
    assert degree.to_dict() == dict.fromkeys(range(8), 2)
    mine = pairs[(pairs["id"] == 3) | (pairs["sibling"] == 3)]
    assert models.loc[3, "landscape.barrier_loss"] == pytest.approx(mine["barrier_loss"].mean())


def test_an_annotation_is_of_its_own_model(annotated: Path) -> None:
    """The dropout models come second: their places in the analysis are not their places in the zoo's groups."""
    dataset = ZooDataset(annotated)
    random, train = np.random.default_rng(0), dataset.images().trainset
    images = landscape.drawn(train, SMALL["images"], random)
    for model in (1, 6):
        weights = dataset.state(model, 3).unsqueeze(0)
        own = Losses(dataset.untrained(model), dataset.architecture, weights, images, 8)
        [top], _ = curvature.top_eigenvalues(own, 60, 0.001, 0)
        [sharp] = curvature.sharpness(own, 0.05)
        row = dataset.models.loc[model]
        assert row["landscape.hessian_top_eigenvalue_train"] == pytest.approx(top.item(), rel=0.1)
        assert row["landscape.sharpness"] == pytest.approx(sharp.item(), rel=1e-2, abs=1e-5)


def test_average_of_siblings(annotated: Path) -> None:
    dataset = ZooDataset(annotated)
    pairs = pd.read_csv(paths.table(paths.analysis(annotated, "landscape"), "pairs"))
    random, data = np.random.default_rng(0), dataset.images()
    for count in (SMALL["images"], SMALL["path_images"]):  # what is drawn before, in this order
        splits = [landscape.drawn(split, count, random) for split in (data.trainset, data.testset)]
        if count == SMALL["images"]:
            states = States(np.arange(8), np.full(8, 3))
            landscape.sibling_pairs(dataset, states, 2, random)
    row = pairs.iloc[0]
    both = torch.stack([dataset.state(int(row[end]), 3) for end in ("id", "sibling")])
    _, error = scores(
        dataset.untrained(0), dataset.architecture, torch.cat([both, both.mean(0, keepdim=True)]), splits[1]
    )
    assert row["average_acc_delta"] == pytest.approx((error[0] + error[1]) / 2 - error[2])


def test_an_interrupted_analysis_repeats_nothing(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = ZooDataset(zoo)
    done: list[str] = []

    def curved(work: Any, places: np.ndarray, how: Any) -> dict[str, np.ndarray]:
        if len(done) == 1:
            done.append("interrupted")
            raise KeyboardInterrupt
        done.append("curved")
        return {"place": places, "sharpness": places / 10}

    monkeypatch.setattr(landscape, "curved", curved)
    with pytest.raises(KeyboardInterrupt):
        landscape.analyze(dataset, scratch=tmp_path, siblings=0)
    found = landscape.analyze(dataset, scratch=tmp_path, siblings=0)
    assert done == ["curved", "interrupted", "curved"]
    assert found.models is not None and found.models["sharpness"].tolist() == [model / 10 for model in range(8)]


def test_every_model_has_siblings(zoo: Path) -> None:
    dataset = ZooDataset(zoo)
    states = States(np.arange(8), np.full(8, 3))
    for count in (1, 2, 3, 9):
        pairs = landscape.sibling_pairs(dataset, states, count, np.random.default_rng(0))
        degree = np.bincount(np.concatenate([pairs.first, pairs.second]), minlength=8)
        assert (degree >= min(count, 3)).all() and (degree <= min(count + 1, 3)).all()
        assert (pairs.first < pairs.second).all()
        assert all(a < b for a, b in pairwise(zip(pairs.first, pairs.second, strict=True)))
    assert json.dumps(len(pairs)) == "12"

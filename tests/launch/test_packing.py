"""Which nodes the engine trains, and together with which others."""

from collections.abc import Callable, Sequence

import pytest

from zoo.engines import lanes
from zoo.launch.packing import balanced, deal, notice, pack
from zoo.node.grid import Grid
from zoo.node.node import Node
from zoo.run.engine import unsupported

needs_engine = pytest.mark.skipif(not lanes.available(), reason="the CPU engine was not built here")


@needs_engine
@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ([], None),
        (["optim=sgd", "optim.nesterov=true", "model.dropout=0.3"], None),
        (["optim=rmsprop", "model.activation=gelu", "init=normal"], None),
        (["model=cnn_large"], None),
        (["engine=torch"], "engine=torch"),
        (["trainer.accelerator=gpu"], "trainer.accelerator=gpu"),
        (["schedule=one_cycle"], "schedule=one_cycle"),
        (["augmentation=crop_flip"], "augmentation=crop_flip"),
        (["+optim.amsgrad=true"], "optim.amsgrad"),
        (["model=resnet18", "data.size=28"], "the model's forward calls add, for which the engine knows no layer"),
        (
            ["model=fragile"],
            "the model's forward cannot be followed: symbolically traced variables cannot be used as inputs to control "
            "flow",
        ),
    ],
)
def test_unsupported(grid: Callable[..., Grid], overrides: list[str], reason: str | None) -> None:
    [node] = grid(*overrides)
    assert unsupported(node) == reason


@needs_engine
def test_packs_differ_inside_in_per_model_values_only(grid: Callable[..., Grid]) -> None:
    inside = [
        "seed=0,1",
        "init=uniform,normal",
        "optim.lr=1e-3,1e-4",
        "optim.weight_decay=0,0.1",
        "model.dropout=0.3,0.5",
    ]
    assert [len(nodes) for nodes in pack(list(grid(*inside)), workers=2)] == [16, 16]
    between = ["model.activation=tanh,relu", "optim=adam,sgd", "model.dropout=0,0.5"]
    packs = pack(list(grid("seed=0,1", *between)), workers=2)
    assert [len(nodes) for nodes in packs] == [2] * 8
    for nodes in packs:
        assert len({(p.config["model"]["activation"], p.config["optim"]["name"]) for p in nodes}) == 1


@needs_engine
def test_every_node_is_in_one_pack(grid: Callable[..., Grid]) -> None:
    nodes = list(grid("seed=range(0,37)", "engine=auto,torch"))
    for size in (None, 1, 5):
        packs = pack(nodes, workers=3, pack_size=size)
        assert sorted(p.run for nodes in packs for p in nodes) == sorted(p.run for p in nodes)
        assert all(len(members) == 1 for members in packs if members[0].config["engine"] == "torch")
        assert max(map(len, packs)) == (size or 13)  # of 37 for three workers


@needs_engine
def test_each_reason_for_the_slow_way_is_told_once(grid: Callable[..., Grid]) -> None:
    nodes = [*grid("seed=range(0,5)"), *grid("seed=range(0,3)", "optim.lr=1e-3,1e-4", "schedule=one_cycle")]
    nodes += [*grid("seed=1", "+optim.amsgrad=true"), *grid("engine=torch", "seed=range(0,4)")]
    told = notice(nodes)
    assert told is not None and told.splitlines() == [
        "6 of 16 models through PyTorch, far slower: schedule=one_cycle",
        "1 of 16 models through PyTorch, far slower: optim.amsgrad",
        "7 of 16 in all",
    ]
    assert notice(list(grid("seed=range(0,5)"))) is None
    assert notice(list(grid("engine=torch"))) is None  # as the user wants it


def numbered(*sizes: int) -> list[Sequence[Node]]:
    return [[Node([], {}) for _ in range(size)] for size in sizes]


@pytest.mark.parametrize(
    ("sizes", "workers", "expected"),
    [
        ([16, 16], 2, [16, 16]),
        ([16], 1, [16]),
        ([16], 2, [8, 8]),
        ([4, 16, 16], 2, [16, 16, 2, 2]),
        ([16, 16, 16], 2, [16, 16, 8, 8]),
        ([16] * 6 + [4], 2, [16] * 6 + [2, 2]),
        ([16, 5, 1, 1, 1], 2, [12, 5, 4, 1, 1, 1]),
        ([5], 4, [2, 1, 1, 1]),
        ([], 2, []),
    ],
)
def test_all_workers_have_as_many_models(sizes: list[int], workers: int, expected: list[int]) -> None:
    dealt = balanced(numbered(*sizes), workers)
    assert sorted((len(nodes) for share in dealt for nodes in share), reverse=True) == expected
    shares = [sum(map(len, share)) for share in dealt]
    assert max(shares) - min(shares) <= 1


@needs_engine
@pytest.mark.parametrize(
    ("models", "workers", "expected"),
    [
        (96, 2, [16] * 6),
        (100, 2, [18, 18, 16, 16, 16, 16]),
        (97, 2, [17, 16, 16, 16, 16, 16]),
        (20, 1, [20]),
        (24, 1, [16, 8]),
        (40, 2, [20, 20]),
        (37, 3, [13, 12, 12]),
        (7, 4, [2, 2, 2, 1]),
    ],
)
def test_what_is_left_over_joins_whole_packs(
    grid: Callable[..., Grid], models: int, workers: int, expected: list[int]
) -> None:
    packs = pack(list(grid(f"seed=range(0,{models})")), workers)
    assert [len(nodes) for nodes in packs] == expected
    shares = [sum(map(len, share)) for share in deal(packs, workers)]  # as workers take them, the largest first
    assert max(shares) - min(shares) <= 1


@needs_engine
def test_only_models_of_one_key_are_joined(grid: Callable[..., Grid]) -> None:
    nodes = list(grid("seed=range(0,17)", "model.activation=tanh,relu"))
    packs = pack(nodes, workers=1)
    assert [len(members) for members in packs] == [17, 17]
    assert all(len({node.config["model"]["activation"] for node in members}) == 1 for members in packs)

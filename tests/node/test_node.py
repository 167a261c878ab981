"""Names and values of nodes."""

from collections.abc import Callable

from zoo.node.grid import Grid
from zoo.node.node import Node


def name(node: Node) -> str:
    return node.run.name


def test_name_shows_the_values(grid: Callable[..., Grid]) -> None:
    [node] = grid("seed=3", "optim.lr=1e-4", "model.dropout=0.5", "init=normal", "model.activation=relu")
    assert name(node).startswith("relu_normal_adam_lr0.0001_wd0_dropout0.5_seed3_")


def test_name_is_the_same_however_a_value_is_typed(grid: Callable[..., Grid]) -> None:
    nodes = [*grid("optim.lr=1e-3", "model.dropout=0"), *grid("optim.lr=0.001", "model.dropout=0.0"), *grid()]
    assert len({name(node) for node in nodes}) == 1


def test_name_follows_every_trained_value_and_no_other(grid: Callable[..., Grid]) -> None:
    trained = ("batch_size=20", "trainer.max_epochs=9", "optim.eps=1e-7", "data.split_seed=1", "schedule=one_cycle")
    untrained = ("data.root=/elsewhere", "data.download=false", "sweeps=other", "trainer.accelerator=gpu")
    [default] = grid()
    names = {name(node) for override in trained for node in grid(override)}
    assert len(names) == len(trained) and name(default) not in names
    assert {name(node) for override in untrained for node in grid(override)} == {name(default)}


def test_params_hold_what_one_types_and_the_released_keys(grid: Callable[..., Grid]) -> None:
    [node] = grid("optim=rmsprop", "optim.lr=0.01", "model.activation=leaky_relu", "seed=5", "trainer.max_epochs=2")
    params = node.params
    assert params["optim"] == "rmsprop" and params["optim.lr"] == 0.01 and params["init"] == "kaiming_uniform"
    assert params["seed"] == 5 and params["batch_size"] == 10 and params["trainer.max_epochs"] == 2
    released = {key: value for key, value in params.items() if "::" in key}
    assert released == {
        "model::type": "CNN",
        "model::channels_in": 1,
        "model::o_dim": 10,
        "model::nlin": "leakyrelu",
        "model::dropout": 0.0,
        "model::init_type": "kaiming_uniform",
        "optim::optimizer": "rms_prop",
        "optim::lr": 0.01,
        "optim::wd": 0.0,
        "optim::momentum": 0.9,
        "training::batchsize": 10,
        "training::epochs_train": 2,
    }

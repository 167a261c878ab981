"""Names and values of nodes."""

from collections.abc import Callable

from zoo import node as nodes
from zoo.grid import Grid, Point


def name(point: Point) -> str:
    return point.run.name


def test_name_shows_the_values(grid: Callable[..., Grid]) -> None:
    [point] = grid("seed=3", "optim.lr=1e-4", "model.dropout=0.5", "init=normal", "model.activation=relu")
    assert name(point).startswith("relu_normal_adam_lr0.0001_wd0_dropout0.5_seed3_")


def test_name_is_the_same_however_a_value_is_typed(grid: Callable[..., Grid]) -> None:
    points = [*grid("optim.lr=1e-3", "model.dropout=0"), *grid("optim.lr=0.001", "model.dropout=0.0"), *grid()]
    assert len({name(point) for point in points}) == 1


def test_name_follows_every_trained_value_and_no_other(grid: Callable[..., Grid]) -> None:
    trained = ("batch_size=20", "trainer.max_epochs=9", "optim.eps=1e-7", "data.split_seed=1", "schedule=one_cycle")
    untrained = ("data.root=/elsewhere", "data.download=false", "sweeps=other", "trainer.accelerator=gpu")
    [default] = grid()
    names = {name(point) for override in trained for point in grid(override)}
    assert len(names) == len(trained) and name(default) not in names
    assert {name(point) for override in untrained for point in grid(override)} == {name(default)}


def test_params_hold_what_one_types_and_the_released_keys(grid: Callable[..., Grid]) -> None:
    [point] = grid("optim=rmsprop", "optim.lr=0.01", "model.activation=leaky_relu", "seed=5", "trainer.max_epochs=2")
    params = nodes.params(nodes.values(point.config))
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

"""The keys of the 2022 zoos: right where a node has such a value, absent where it has none."""

from collections.abc import Callable

from zoo.format.released import released
from zoo.node.grid import Grid

ALWAYS = {"model::type", "model::channels_in", "model::o_dim", "model::init_type", "optim::optimizer", "optim::lr"}
ALWAYS |= {"training::batchsize", "training::epochs_train", "seed"}


def test_what_a_network_does_not_have_is_left_out(grid: Callable[..., Grid]) -> None:
    [node] = grid("model=resnet18", "optim=adam")
    assert node.released.keys() == ALWAYS | {"optim::wd"} and node.released["model::type"] == "Resnet18"
    assert not {"model::nlin", "model::dropout", "optim::momentum"} & node.params.keys()


def test_an_optimizer_without_weight_decay_or_rate(grid: Callable[..., Grid]) -> None:
    [node] = grid("~optim", "+optim={name: lbfgs, _target_: torch.optim.LBFGS, _partial_: true, history_size: 5}")
    assert node.released.keys() == (ALWAYS - {"optim::lr"}) | {"model::nlin", "model::dropout"}
    assert node.released["model::nlin"] == "tanh" and node.released["optim::optimizer"] == "lbfgs"


def test_names_are_those_of_the_release() -> None:
    flat = {"model": "cnn_large", "model.activation": "leaky_relu", "optim": "rmsprop", "init": "rmsprop", "seed": 3}
    assert released(flat) == {
        "model::type": "CNN3",
        "model::nlin": "leakyrelu",
        "model::init_type": "rmsprop",
        "optim::optimizer": "rms_prop",
        "seed": 3,
    }

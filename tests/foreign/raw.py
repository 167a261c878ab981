"""Raw zoos as others write them, made small: their layouts, with random weights."""

import csv
import functools
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from zoo.models.cnn import CNNLarge, CNNSmall, CNNStrided
from zoo.models.park import CNNPark

State = dict[str, torch.Tensor]


def state_of(build: Callable[[], nn.Module], seed: int) -> State:
    torch.manual_seed(seed)
    return dict(build().state_dict())


def ray_name(number: int, **values: Any) -> str:
    """The folder of a trial, as Ray names it."""
    said = ",".join(f"{key}={value}" for key, value in values.items())
    return f"NN_tune_trainable_cf22b_{number:05d}_{number}_{said}_2022-03-09 12-28-05"


def params(kind: str = "CNN", **values: Any) -> dict[str, Any]:
    return {
        "model::type": kind,
        "model::channels_in": 1,
        "model::o_dim": 10,
        "model::nlin": "tanh",
        "model::dropout": 0.0,
        "model::init_type": "uniform",
        "optim::optimizer": "adam",
        "optim::lr": 0.0003,
        "optim::wd": 0,
        "optim::momentum": 0.9,
        "training::batchsize": 10,
        "training::epochs_train": 2,
        "dataset::dump": "/home/someone/zoos/MNIST/dataset.pt",
        "cuda": False,
        "seed": 1,
        **values,
    }


def record(epoch: int, config: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    return {
        "train_loss": 2.0 / (epoch + 1),
        "train_acc": 0.1 + 0.1 * epoch,
        "test_loss": 2.1 / (epoch + 1),
        "test_acc": 0.1 + 0.09 * epoch,
        "val_loss": 2.2 / (epoch + 1),
        "val_acc": 0.1 + 0.08 * epoch,
        "training_iteration": epoch,
        "time_this_iter_s": 1.5,
        "time_total_s": 1.5 * (epoch + 1),
        "trial_id": "cf22b_00000",
        "node_ip": "192.168.0.1",
        "config": dict(config),
        **values,
    }


def write_model(
    run: Path,
    config: Mapping[str, Any],
    states: Mapping[int, State],
    padded: bool = True,
    records: Sequence[Mapping[str, Any]] | None = None,
) -> Path:
    run.mkdir(parents=True)
    (run / "params.json").write_text(json.dumps(config))
    lines = [record(epoch, config) for epoch in range(max(states) + 1)] if records is None else records
    (run / "result.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "progress.csv").write_text("train_loss,train_acc\n")
    (run / "events.out.tfevents.1646").write_bytes(b"\0")
    for epoch, state in states.items():
        folder = run / (f"checkpoint_{epoch:06d}" if padded else f"checkpoint_{epoch}")
        folder.mkdir()
        torch.save(state, folder / "checkpoints")
        torch.save({"state": {}, "param_groups": []}, folder / "optimizer")
        (folder / ".is_checkpoint").write_text("")
    return run


def write_optimizers(run: Path, kind: Callable[..., torch.optim.Optimizer] = torch.optim.Adam) -> None:
    """As the released generator saves them: the optimizer's own state, after a step at each epoch but the first."""
    model = CNNSmall(1)
    optimizer = kind(model.parameters(), lr=0.0003)
    for path in sorted(run.glob("checkpoint_*/optimizer")):
        torch.save(optimizer.state_dict(), path)
        for parameter in model.parameters():
            parameter.grad = torch.rand_like(parameter)
        optimizer.step()


def released(root: Path, models: int = 4, epochs: int = 2, padded: bool = True, large: bool = False) -> Path:
    """A zoo of CNN-s (or CNN-l) models, half of them with dropout, in the layout of 2022."""
    root.mkdir(parents=True)
    kind = CNNLarge if large else CNNSmall
    for number in range(models):
        dropout = 0.5 * (number % 2)
        own = params("CNN3" if large else "CNN", **{"model::dropout": dropout, "seed": number})
        name = ray_name(number, **{"model::dropout": dropout, "seed": number})
        states = {
            epoch: state_of(functools.partial(kind, 1, 10, "tanh", dropout), 100 * number + epoch)
            for epoch in range(epochs + 1)
        }
        write_model(root / name, own, states, padded)
    grid = {"model::dropout": {"grid_search": [0.0, 0.5]}, "model::type": "CNN"}
    (root / "config.json").write_text(json.dumps(grid))
    (root / "readme.md").write_text("")
    (root / "experiment_state-2022-03-09_12-28-05.json").write_text("{}")
    write_images(root / "dataset.pt")
    return root


def write_images(path: Path) -> None:
    """As the released generators save them: PyTorch's TensorDatasets in a pickle."""

    def split(count: int) -> TensorDataset:
        return TensorDataset(torch.rand(count, 1, 28, 28), torch.arange(count) % 10)

    torch.save({"trainset": split(20), "valset": split(10), "testset": split(10), "dataset_seed": 42}, path)


def sparsified(state: State, dropped: float = 0.5) -> State:
    """The state of the variational network: every number has a variance, some so large that they are dropped."""
    made: State = {}
    for key, value in state.items():
        made[key] = value
        if key.endswith(".bias"):
            layer = key.removesuffix(".bias")
            weight = state[f"{layer}.weight"]
            large = torch.rand(weight.shape) < dropped
            made[f"{layer}.log_sigma2"] = torch.where(large, 5.0, -10.0) + 2 * torch.log(weight.abs() + 1e-15)
            made[f"{layer}.log_sigma2_bias"] = torch.full(value.shape, 9.0)
    return made


def small_cnn(folder: Path, models: int = 3, steps: Sequence[int] = (0, 1, 2, 20, 86)) -> dict[tuple[str, int], State]:
    """A Small CNN Zoo; returns the states in PyTorch's form by modeldir and step. Rows are not in order."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    states = {
        (f"/cns/x/42/{number}", step): state_of(CNNStrided, 100 * number + step)
        for number in range(models)
        for step in steps
    }
    places = [list(states)[place] for place in rng.permutation(len(states))]
    rows, layout, start = [], [], 0
    for place in places:
        tensors = list(states[place].values())
        pairs = [(bias, weight) for weight, bias in zip(tensors[::2], tensors[1::2], strict=True)]
        rows.append(np.concatenate([turned(tensor).ravel() for pair in pairs for tensor in pair]))
    for layer, (weight, bias) in enumerate(zip(tensors[::2], tensors[1::2], strict=True)):
        for name, tensor in (("bias:0", bias), ("kernel:0", weight)):
            shape = turned(tensor).shape
            layout.append([f"sequential/layer_{layer}/{name}", start, start + tensor.numel(), str(tuple(shape))])
            start += tensor.numel()
    np.save(folder / "weights.npy", np.stack(rows).astype(np.float32))
    write_csv(folder / "layout.csv", ["varname", "start_idx", "end_idx", "shape"], layout)
    columns = ["modeldir", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "config.activation"]
    columns += ["config.optimizer", "config.learning_rate", "config.w_init", "config.num_layers", "laststep"]
    with gzip.open(folder / "metrics.csv.gz", "wt", newline="") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for model, step in places:
            number = int(model[-1])
            shared = ["relu" if number % 2 else "tanh", "adam", 0.01 * (number + 1), "he_normal", 3, 86]
            table.writerow([model, step, 2.0, 0.2, 2.1, step / 100, *shared])
    return states


def turned(tensor: torch.Tensor) -> np.ndarray:
    """With TensorFlow's axes."""
    axes = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[tensor.dim()]
    return tensor.permute(axes).numpy()


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def wild_park(folder: Path) -> Path:
    """A CNN Wild Park of two architectures, two models each; returns the JSON."""
    folder.mkdir(parents=True)
    table: dict[str, dict[str, list[Any]]] = {
        split: {"path": [], "score": [], "step": []} for split in ("train", "val", "test")
    }
    for number in range(4):
        channels, kernels = ([3, 4, 8], [3, 5]) if number < 2 else ([3, 8, 8, 4], [5, 3, 3])
        layers = len(kernels)
        config = {
            "n_layers": layers,
            "n_classes": 10,
            "channels": channels,
            "kernel_size": kernels,
            "stride": [1] * layers,
            "padding": [size // 2 for size in kernels],
            "residual": [-1, -1, 0][:layers],
            "activation": ["relu", "gelu", "tanh"][:layers],
        }
        for step in (4, 9):
            network: dict[str, Any] = {
                key: config[key] for key in ("channels", "kernel_size", "activation", "residual")
            }
            state = state_of(functools.partial(CNNPark, **network), 10 * number + step)
            path = Path("zoo") / f"trial_{number}" / f"checkpoint_{step:06d}" / "checkpoint.pt"
            (folder / path).parent.mkdir(parents=True)
            saved = {"model": state, "config": config, "last_result": {"test/acc": step / 10}, "iteration": step}
            torch.save(saved, folder / path)
            columns = table["test" if number % 2 else "train"]
            for key, value in (("path", path.as_posix()), ("score", step / 10), ("step", step)):
                columns[key].append(value)
    (folder / "cnn_park_splits.json").write_text(json.dumps(table))
    return folder / "cnn_park_splits.json"

"""The CPU engine beside what else one would do, on one core: optimizer steps of single models per second.

    python benchmarks/engine.py [--seconds S] [--network cnn-s cnn-l] [--activation A] [--optimizer O] [--dropout P]

Measured in turns, several rounds of each, on random images in memory, batches of 10, one thread:

    plain       one model, the loop of the released generator: a module list, log_softmax and NLLLoss, torch.optim
    lightning   one model, a LightningModule trained on a DataLoader over a TensorDataset, quiet
    pack of one one model, as this project trains what the engine can't: one Lightning step an epoch (TorchPack)
    vmap        a population stacked by torch.func: functional_call, grad and vmap, and a hand-written Adam (Adam only)
    engine      a population in SIMD lanes (zoo.engines.lanes); 16, or --models

The table gives the best round of each, its ratio to the plain loop, and the share of the core's multiply-add peak
(measured here, in registers) that the step's multiply-adds make up as PyTorch computes them, without the images' own
gradient. The engine leaves out many that max pooling would multiply by zero, so that its share is not bound by 100 %.
"""

import argparse
import logging
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.utils.data import DataLoader, TensorDataset

from zoo.engines import lanes
from zoo.installation import CONF
from zoo.node import resolvers

BATCH = 10
IMAGES = 2000
LR = 3e-4
ACTIVATIONS = {a.__name__.lower(): a for a in (nn.Tanh, nn.ReLU, nn.Sigmoid, nn.GELU, nn.LeakyReLU, nn.SiLU)}
SHAPES = {"cnn-s": (1, 28, 28), "cnn-s-rgb": (3, 28, 28), "cnn-l": (3, 32, 32)}


def layers(network: str, activation: str, rate: float) -> list[nn.Module]:
    act = ACTIVATIONS[activation]
    drop = [nn.Dropout(rate)] if rate else []
    channels = SHAPES[network][0]
    if network == "cnn-l":
        return [
            *(nn.Conv2d(channels, 16, 3), nn.MaxPool2d(2), act(), *drop),
            *(nn.Conv2d(16, 32, 3), nn.MaxPool2d(2), act(), *drop),
            *(nn.Conv2d(32, 15, 3), nn.MaxPool2d(2), act(), *drop),
            *(nn.Flatten(), nn.Linear(60, 20), act(), *drop, nn.Linear(20, 10)),
        ]
    return [
        *(nn.Conv2d(channels, 8, 5), nn.MaxPool2d(2), act(), *drop),
        *(nn.Conv2d(8, 6, 5), nn.MaxPool2d(2), act(), *drop),
        *(nn.Conv2d(6, 4, 2), act()),
        *(nn.Flatten(), nn.Linear(36, 20), act(), *drop, nn.Linear(20, 10)),
    ]


class Network(nn.Module):
    """A module list, as the released generator has it."""

    def __init__(self, network: str, activation: str, rate: float) -> None:
        super().__init__()
        self.module_list = nn.ModuleList(layers(network, activation, rate))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.module_list:
            x = layer(x)
        return x


OPTIMIZERS = {"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}


def optimizer_of(model: nn.Module, name: str) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=LR, momentum=0.9)
    if name == "rmsprop":
        return torch.optim.RMSprop(model.parameters(), lr=LR)
    return torch.optim.Adam(model.parameters(), lr=LR)


def step_flops(network: str, activation: str) -> int:
    """Floating-point operations of a step: forward, weight gradients, input gradients of all but the first layer."""
    x, total = torch.zeros(1, *SHAPES[network]), 0
    for k, layer in enumerate(layers(network, activation, 0.0)):
        x = layer(x)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            multiply_adds = x[0].numel() * layer.weight[0].numel()
            total += 2 * multiply_adds * (2 if k == 0 else 3)
    return total * BATCH


# A contender trains for about that many seconds and returns the model-steps a second.
Contender = Callable[[float], float]


def timed(work: Callable[[], int], seconds: float) -> float:
    """Model-steps per second of `work`, which returns the number it has done."""
    steps, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        steps += work()
    return steps / elapsed


def plain(args: argparse.Namespace, network: str, images: Tensor, labels: Tensor) -> Contender:
    model = Network(network, args.activation, args.dropout).train()
    optimizer, criterion = optimizer_of(model, args.optimizer), nn.NLLLoss()

    def epoch_part() -> int:
        order = torch.randperm(len(images))[: 50 * BATCH]
        for batch in order.split(BATCH):
            optimizer.zero_grad()
            loss = criterion(F.log_softmax(model(images[batch]), dim=1), labels[batch])
            loss.backward()
            optimizer.step()
        return 50

    return lambda seconds: timed(epoch_part, seconds)


def lightning(args: argparse.Namespace, network: str, images: Tensor, labels: Tensor) -> Contender:
    import pytorch_lightning as pl

    quiet()

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = Network(network, args.activation, args.dropout)

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            x, y = batch
            return F.cross_entropy(self.network(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return optimizer_of(self, args.optimizer)

    model, loader = Classifier(), DataLoader(TensorDataset(images, labels), batch_size=BATCH, shuffle=True)
    return lambda seconds: fitted(model, loader, 1, seconds)


def pack_of_one(args: argparse.Namespace, network: str, images: Tensor, labels: Tensor) -> Contender:
    from zoo.data.images import Images, Split
    from zoo.node.node import Node
    from zoo.run.torch_pack import TorchPack

    quiet()
    split = Split(images, labels)
    optim = {"_partial_": True, "_target_": f"torch.optim.{OPTIMIZERS[args.optimizer]}", "lr": LR}
    optim |= {"momentum": 0.9} if args.optimizer == "sgd" else {}
    optim |= {"fused": True} if args.optimizer != "rmsprop" else {}
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = resolvers.plain(compose("train", [f"batch_size={BATCH}"])) | {
            "optim": optim | {"name": args.optimizer}
        }
    model = Network(network, args.activation, args.dropout)
    pack = TorchPack(Node(config), model, Images("random", split, split, split, 0, [], [0.0], [1.0]))
    return lambda seconds: fitted(pack, None, -(-len(images) // BATCH), seconds)


def quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")


def fitted(model: Any, loader: DataLoader | None, steps_each: int, seconds: float) -> float:
    """Model-steps per second of a Trainer without its start, when each of its own steps makes `steps_each`."""
    import pytorch_lightning as pl

    class Clock(pl.Callback):
        start, steps, elapsed = 0.0, 0, 0.0

        def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
            now = time.perf_counter()
            if self.start:
                self.steps, self.elapsed = self.steps + steps_each, now - self.start
                trainer.should_stop = self.elapsed > seconds
            else:
                self.start = now

    clock = Clock()
    silent = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    pl.Trainer(max_epochs=-1, accelerator="cpu", devices=1, callbacks=[clock], **silent).fit(model, loader)
    return clock.steps / clock.elapsed


def stacked(args: argparse.Namespace, network: str, images: Tensor, labels: Tensor) -> Contender:
    count = args.models or 64
    models = [Network(network, args.activation, args.dropout) for _ in range(count)]
    params, _ = stack_module_state(models)
    params = {name: p.detach() for name, p in params.items()}
    base = models[0]

    def loss_of(p: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(base, p, (x,)), y)

    gradients = vmap(grad(loss_of), randomness="different")
    first = {name: torch.zeros_like(p) for name, p in params.items()}
    second = {name: torch.zeros_like(p) for name, p in params.items()}
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        batch = torch.randint(len(images), (count, BATCH))
        correction1, correction2 = 1 - 0.9**steps, (1 - 0.999**steps) ** 0.5
        for name, g in gradients(params, images[batch], labels[batch]).items():
            first[name].lerp_(g, 0.1)
            second[name].mul_(0.999).addcmul_(g, g, value=0.001)
            params[name].addcdiv_(
                first[name], second[name].sqrt().div_(correction2).add_(1e-8), value=-LR / correction1
            )
        return count

    return lambda seconds: timed(step, seconds)


def engine(args: argparse.Namespace, network: str, images: Tensor, labels: Tensor) -> Contender:
    count = args.models or 16
    model = Network(network, args.activation, args.dropout)
    momentum = 0.9 if args.optimizer == "sgd" else 0.0
    pack = lanes.Engine(model.module_list, SHAPES[network], count, args.optimizer, lr=LR, momentum=momentum)
    weights = [Network(network, args.activation, args.dropout).parameters() for _ in range(count)]
    pack.parameters = torch.stack([torch.cat([p.detach().flatten() for p in w]) for w in weights])
    keys = torch.arange(count)

    def epoch_part() -> int:
        orders = torch.stack([torch.randperm(len(images))[: 50 * BATCH] for _ in range(count)])
        pack.train_epoch(images, labels, orders, BATCH, keys)
        return 50 * count

    return lambda seconds: timed(epoch_part, seconds)


def compare(args: argparse.Namespace, network: str) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(IMAGES, *SHAPES[network]), torch.randint(10, (IMAGES,))
    prepare = {"plain": plain, "lightning": lightning, "pack of one": pack_of_one, "vmap": stacked, "engine": engine}
    if args.optimizer != "adam":
        del prepare["vmap"]
    names = [name for name in prepare if name == "plain" or args.only is None or name in args.only]
    contenders = {name: prepare[name](args, network, images, labels) for name in names}

    for contender in contenders.values():  # first calls allocate and compile
        contender(0.1)
    best, peak = dict.fromkeys(contenders, 0.0), 0.0
    ratios: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        peak = max(peak, lanes.peak(0.2))
        rates = {name: contender(args.seconds) for name, contender in contenders.items()}
        for name, rate in rates.items():
            best[name] = max(best[name], rate)
            ratios[name].append(rate / rates["plain"])

    flops = step_flops(network, args.activation)
    print(
        f"\n{network}, batch {BATCH}, {args.activation}, {args.optimizer}, dropout {args.dropout:g}: "
        f"{flops / 1e6:.1f} MFLOP a step, peak {peak / 1e9:.0f} GFLOP/s = {peak / flops:,.0f} model-steps/s"
    )
    print(f"{'':12}{'model-steps/s':>15}{'x plain':>10}{'(by round)':>18}{'of peak':>10}")
    for name in contenders:
        spread = f"{min(ratios[name]):.1f} to {max(ratios[name]):.1f}"
        ratio = best[name] / best["plain"]
        print(f"{name:12}{best[name]:>15,.0f}{ratio:>10.1f}{spread:>18}{best[name] * flops / peak:>10.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="per contender and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", nargs="+", choices=SHAPES, default=["cnn-s", "cnn-l"])
    parser.add_argument("--activation", choices=ACTIVATIONS, default="tanh")
    parser.add_argument("--optimizer", choices=["adam", "sgd", "rmsprop"], default="adam")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--models", type=int, help="population of vmap and the engine (default 64 and 16)")
    parser.add_argument(
        "--only", nargs="+", choices=["lightning", "pack of one", "vmap", "engine"], help="beside plain"
    )
    args = parser.parse_args()

    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):  # one core for all, and always the same
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if reason := lanes.reason():
        raise SystemExit(f"the CPU engine cannot be used: {reason}")
    for network in args.network:
        compare(args, network)


if __name__ == "__main__":
    main()

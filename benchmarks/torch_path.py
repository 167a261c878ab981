"""What PyTorch is given where the CPU engine can't train: memory format and batch of evaluation, on one thread.

    python benchmarks/torch_path.py [--rounds N] [--batch-size B] [--images N]

ResNet-18 on random images of 3 x 32 x 32, CNN-s on 1 x 28 x 28. Processor seconds (user and system), the choices in
turns, the median of the rounds: other work on the machine counts little.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.cnn import CNNSmall
from zoo.models.resnet import ResNet18

EVALUATION = (10, 50, 100, 500, 2000)  # images a batch


def steps(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> Callable[[], object]:
    """Training steps over the images."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def train() -> None:
        model.train()
        for batch, wanted in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            optimizer.zero_grad()
            F.cross_entropy(model(batch), wanted).backward()
            optimizer.step()

    return train


def evaluation(model: nn.Module, images: Tensor, batch_size: int) -> Callable[[], object]:
    @torch.inference_mode()
    def evaluate() -> None:
        model.eval()
        for batch in images.split(batch_size):
            model(batch)

    return evaluate


def compare(title: str, choices: dict[str, Callable[[], object]], rounds: int) -> None:
    """Print the processor seconds of each, and how many times as long as the first it takes."""
    seconds: dict[str, list[float]] = {name: [] for name in choices}
    for number in range(rounds + 1):
        for name, work in choices.items():
            began = time.process_time()
            work()
            if number:  # the first time costs more
                seconds[name].append(time.process_time() - began)
    medians = {name: statistics.median(found) for name, found in seconds.items()}
    first = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{title:24} {name:20} {median:7.3f} s  {median / first:5.2f} x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="What PyTorch is given where the CPU engine can't train.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--images", type=int, default=100, help="for ResNet-18; CNN-s has 100 times as many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, labels = torch.randn(options.images, 3, 32, 32), torch.randint(10, (options.images,))
    resnet = ResNet18()
    last = torch.channels_last
    formats = {
        "contiguous": steps(copy.deepcopy(resnet), images, labels, options.batch_size),
        "channels_last": steps(
            copy.deepcopy(resnet).to(memory_format=last), images.to(memory_format=last), labels, options.batch_size
        ),
    }
    compare(f"ResNet-18, batches of {options.batch_size}", formats, options.rounds)
    small = torch.randn(100 * options.images, 1, 28, 28)
    for name, model, of in (("ResNet-18", resnet, images), ("CNN-s", CNNSmall(1, 10), small)):
        sizes = {f"batches of {size}": evaluation(model, of, size) for size in EVALUATION if size <= len(of)}
        compare(f"{name}, evaluation", sizes, options.rounds)


if __name__ == "__main__":
    main()

"""The plain PyTorch loop, as the generator of the 2022 Model Zoos has it: what the other benchmarks compare with."""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.cnn import CNNSmall


def train_epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, batch_size: int
) -> tuple[float, float]:
    """Train once through the images, in memory and in random order; returns the running mean loss and accuracy."""
    criterion = nn.NLLLoss()
    model.train()
    loss_sum, correct = 0.0, 0
    for indices in torch.randperm(len(images)).split(batch_size):
        batch, target = images[indices], labels[indices]
        optimizer.zero_grad()
        output = F.log_softmax(model(batch), dim=1)
        loss = criterion(output, target)
        loss.backward()
        optimizer.step()
        _, predicted = torch.max(output.data, 1)
        correct += int((predicted == target).sum())
        loss_sum += loss.item() * len(target)
    return loss_sum / len(images), correct / len(images)


@torch.no_grad()
def test_epoch(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Loss and accuracy, all images in one batch."""
    model.eval()
    output = F.log_softmax(model(images), dim=1)
    return F.nll_loss(output, labels).item(), (output.argmax(1) == labels).double().mean().item()


def train_model(seed: int, data: dict[str, dict[str, Tensor]], epochs: int, run: Path) -> None:
    """A model of the MNIST Seed zoo, its records and checkpoints."""
    torch.manual_seed(seed)
    model = CNNSmall(1)
    for layer in model.module_list:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.uniform_(layer.weight)
            layer.bias.data.fill_(0.01)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    run.mkdir(parents=True)
    for epoch in range(epochs + 1):
        train = data["trainset"]
        if epoch:
            loss, accuracy = train_epoch(model, optimizer, train["images"], train["labels"], batch_size=10)
        else:
            loss, accuracy = test_epoch(model, train["images"], train["labels"])
        record = {"train_loss": loss, "train_acc": accuracy}
        for split in ("val", "test"):
            found = test_epoch(model, data[f"{split}set"]["images"], data[f"{split}set"]["labels"])
            record[f"{split}_loss"], record[f"{split}_acc"] = found
        checkpoint = run / f"checkpoint_{epoch:06d}"
        checkpoint.mkdir()
        torch.save(model.state_dict(), checkpoint / "checkpoints")
        torch.save(optimizer.state_dict(), checkpoint / "optimizer")
        with (run / "result.json").open("a") as file:
            file.write(json.dumps(record) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train models of the MNIST Seed zoo one after the other.")
    parser.add_argument("--dataset", type=Path, required=True, help="a sweep's dataset.pt")
    parser.add_argument("--seeds", type=int, nargs=2, required=True, help="first and last seed")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = torch.load(arguments.dataset, weights_only=True)
    splits = {name: data[name] for name in ("trainset", "valset", "testset")}
    for seed in range(arguments.seeds[0], arguments.seeds[1] + 1):
        train_model(seed, splits, arguments.epochs, arguments.out / str(seed))


if __name__ == "__main__":
    main()

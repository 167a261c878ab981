"""Train one model, or with -m a sweep of them: conf -> sweeps/<zoo.name>/<node>. See `python train.py --help`."""

import sys

import hydra
from omegaconf import DictConfig

from zoo.node.clear_errors import clear_errors
from zoo.node.resolvers import plain


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    from zoo.launch.single import train_single  # PyTorch is imported where it is needed: --help takes no second

    with clear_errors():
        return train_single(plain(config))["test_acc"]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. The same command again goes on from there.")

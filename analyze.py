"""Make a zoo of a sweep: sweeps/<name> -> zoos/<name> and zoos/<name>.zip. See `python analyze.py --help`."""

from pathlib import Path

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="analyze")
def main(config: DictConfig) -> None:
    from zoo.card import report  # PyTorch is imported where it is needed: --help takes no second
    from zoo.collate import collate, latest

    sweep = Path(config.sweep) if config.sweep else latest(Path(config.sweeps))
    zoo = Path(config.zoo_dir) if config.zoo_dir else Path(config.zoos) / sweep.name
    print(f"{sweep} -> {zoo}")
    print(report(zoo, collate(sweep, zoo)))


if __name__ == "__main__":
    main()

"""Train one model, or with -m a sweep of them: conf -> sweeps/<zoo.name>/<node>. See `python train.py --help`."""

import hydra
from omegaconf import DictConfig

from zoo.node.clear_errors import clear_errors, clear_job_errors
from zoo.node.resolvers import plain


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    """Returns the objective of a search, see `zoo.launch.objective`."""
    from zoo.launch.single import train_single  # PyTorch is imported where it is needed: --help takes no second

    with clear_job_errors():
        return train_single(plain(config))


if __name__ == "__main__":
    with clear_errors(example="optim.lr=1e-3"):
        main()

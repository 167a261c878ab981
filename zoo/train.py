"""`python train.py`, `python -m zoo train`: conf -> sweeps/<zoo.name>/<node>, one model or with -m a sweep of them."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from zoo.installation import CONF
from zoo.node.clear_errors import clear_errors, clear_job_errors
from zoo.node.help import quick_lists
from zoo.node.resolvers import node_of


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def job(config: DictConfig) -> float | None:
    """Returns the objective of a search, see `zoo.launch.objective`."""
    from zoo.launch.single import train_single  # PyTorch is imported where it is needed: --help takes no second

    with clear_job_errors():
        return train_single(node_of(config, list(HydraConfig.get().overrides.task)))


def main() -> None:
    with clear_errors(example="optim.lr=1e-3"), quick_lists():
        job()


if __name__ == "__main__":
    main()

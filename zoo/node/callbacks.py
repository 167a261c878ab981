"""Lightning's callbacks: which only watch, and which can't be had. Any other may change what is trained."""

from collections.abc import Mapping
from typing import Any

from zoo.errors import ZooError

LIGHTNING = ("pytorch_lightning", "lightning")  # the packages by which it is known

# What these do beside training; none of it changes a model.
WATCHING = {
    "LearningRateMonitor": "logs the optimizers' learning rates",
    "DeviceStatsMonitor": "logs how busy the device is",
    "ThroughputMonitor": "logs how fast training is",
    "Timer": "measures how long training takes",
    "ModelSummary": "prints the layers before training",
    "RichModelSummary": "prints the layers before training",
    "ProgressBar": "shows how far training is",
    "TQDMProgressBar": "shows how far training is",
    "RichProgressBar": "shows how far training is",
}

EPOCHS = "all models of a zoo are trained for trainer.max_epochs, and every epoch is kept"
KEPT = "every epoch of every model is written already, as docs/zoo_format.md says"
AVERAGED = (
    "the average is kept beside the model, whose own states are written: average the states of some epochs of the zoo"
)
NO_SEARCH = "is what a sweep is for, and part of the models' names"

# Those that would not do what they promise, or make no population.
REFUSED = {
    "EarlyStopping": f"{EPOCHS}, so that you can stop at any when you use them",
    "Checkpoint": KEPT,
    "ModelCheckpoint": KEPT,
    "OnExceptionCheckpoint": KEPT,
    "GradientAccumulationScheduler": "give a larger batch_size instead",
    "StochasticWeightAveraging": AVERAGED,
    "WeightAveraging": AVERAGED,
    "EMAWeightAveraging": AVERAGED,
    "ModelPruning": "it renames the model's tensors, and all models of a zoo have the same",
    "BackboneFinetuning": "no model has a `backbone` of the Trainer's: start from states of a zoo by init=from_zoo",
    "BatchSizeFinder": f"batch_size {NO_SEARCH}",
    "LearningRateFinder": f"optim.lr {NO_SEARCH}",
    "SpikeDetection": "the Trainer sees whole epochs, not the losses of batches",
    "BasePredictionWriter": "the Trainer only trains, and predicts nothing",
}

NEEDS_LOGGER = ("LearningRateMonitor", "DeviceStatsMonitor")


def as_list(given: Any) -> list[Any]:
    """What `trainer.callbacks` or `trainer.logger` stands for: one, or a list of those."""
    return given if isinstance(given, list) else [given] if given else []


def changing(trainer: Any) -> list[Any]:
    """The callbacks among the Trainer's arguments that may change what is trained: all but those known to watch."""
    given = trainer.get("callbacks") if isinstance(trainer, Mapping) else None
    return [one for one in as_list(given) if name_at_lightning(one) not in WATCHING]


def name_at_lightning(callback: Any) -> str | None:
    """The name of a callback's class, if it is one of Lightning's own."""
    target = str(callback.get("_target_")) if isinstance(callback, Mapping) else ""
    return target.rpartition(".")[2] if target.partition(".")[0] in LIGHTNING else None


def require_possible(callback: object, config: Mapping[str, Any], has_logger: bool) -> None:
    """Raise ZooError for a callback, made by its config, that is or derives from one that can't be had.

    `has_logger`: whether there is one beside it.
    """
    own = type(callback).__name__
    for kind in type(callback).__mro__:
        if kind.__module__.partition(".")[0] in LIGHTNING and (reason := REFUSED.get(kind.__name__)):
            raise ZooError(f"trainer.callbacks, {own}: {reason}")
        if kind.__name__ == "Timer" and config.get("duration") is not None:
            raise ZooError(f"trainer.callbacks, Timer, duration={config['duration']}: {EPOCHS}. Leave it out")
        if kind.__name__ in NEEDS_LOGGER and not has_logger:
            raise ZooError(f"trainer.callbacks, {own}: it has nowhere to log to. Give trainer.logger=true, too")

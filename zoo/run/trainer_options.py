"""Which arguments of Lightning's Trainer can be given, as docs/trainer_options.md has them, and with which values."""

import difflib
import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from zoo.errors import ZooError
from zoo.node.callbacks import EPOCHS, KEPT

# What changes the trained models, and so is part of a node's identity. Packs do this, not the Trainer; but for those
# callbacks that are not known to only watch (see zoo.node.callbacks).
MATERIAL = ("precision", "limit_train_batches", "gradient_clip_val", "gradient_clip_algorithm", "callbacks")

# Where and how models are trained and looked at: `immaterial` in conf/train.yaml.
IMMATERIAL = (
    *("accelerator", "devices", "deterministic", "benchmark", "detect_anomaly"),
    *("logger", "log_every_n_steps", "default_root_dir", "profiler"),
    *("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "enable_autolog_hparams"),
)

ONE_DEVICE = "a model is trained on one device by one process, and a sweep trains many at once: see docs/scaling.md"
WHOLE_SPLITS = "every model is evaluated on all images of every split after every epoch"
FEW_BATCHES = "for a quick try, give trainer.max_epochs=1 +trainer.limit_train_batches=1 zoo.name=try"

REFUSED = {
    "strategy": ONE_DEVICE,
    "num_nodes": ONE_DEVICE,
    "sync_batchnorm": ONE_DEVICE,
    "use_distributed_sampler": ONE_DEVICE,
    "plugins": "the project sets them itself",
    "min_epochs": EPOCHS,
    "min_steps": EPOCHS,
    "max_steps": EPOCHS,
    "max_time": f"{EPOCHS}; interrupted training goes on with the same command",
    "fast_dev_run": FEW_BATCHES,
    "overfit_batches": FEW_BATCHES,
    "accumulate_grad_batches": "give a larger batch_size instead",
    "limit_val_batches": WHOLE_SPLITS,
    "limit_test_batches": WHOLE_SPLITS,
    "limit_predict_batches": WHOLE_SPLITS,
    "val_check_interval": WHOLE_SPLITS,
    "check_val_every_n_epoch": WHOLE_SPLITS,
    "num_sanity_val_steps": WHOLE_SPLITS,
    "inference_mode": WHOLE_SPLITS,
    "reload_dataloaders_every_n_epochs": "there are no data loaders: the images are in memory",
    "barebones": "without callbacks nothing would be recorded",
    "model_registry": KEPT,
}

SWITCHES = ("benchmark", "detect_anomaly", *(key for key in IMMATERIAL if key.startswith("enable_")))
PRECISIONS = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
CLIP_ALGORITHMS = ("norm", "value")
ACCELERATORS = ("cpu", "gpu", "cuda", "mps", "auto")
PROFILERS = ("simple", "advanced", "pytorch")


def check_options(trainer: Mapping[str, Any]) -> None:
    """Raise ZooError for the first argument of the Trainer that can't be given, or not with this value."""
    for key, value in trainer.items():
        if not key.startswith("_") and (problem := REFUSED.get(key) or unknown(key) or wrong(key, value, trainer)):
            raise ZooError(f"trainer.{key}={value}: {problem}")


def unknown(key: str) -> str | None:
    """What to say of a key that is no argument of the Trainer; None if it is one."""
    known = ("max_epochs", *MATERIAL, *IMMATERIAL)
    if key in known:
        return None
    nearest = difflib.get_close_matches(key, known, n=3, cutoff=0)
    return f"PyTorch Lightning's Trainer has no such argument. Did you mean {', '.join(nearest)}?"


def wrong(key: str, value: Any, trainer: Mapping[str, Any]) -> str | None:
    """What is wrong with the value of an argument that can be given; None if nothing is."""
    match key:
        case "devices" if not is_one_device(value):
            return f"must be 1, or the number of one device in a list, as in [0]: {ONE_DEVICE}"
        case "accelerator" if value not in ACCELERATORS:
            return f"must be one of {', '.join(ACCELERATORS)}"
        case "enable_checkpointing" if value:
            return KEPT
        case "precision" if value not in PRECISIONS:
            return f"must be one of {', '.join(PRECISIONS)}; without it, models are trained in float32"
        case "limit_train_batches" if not is_limit(value):
            return "must be a whole number of batches, 1 or more, or a share of them above 0 and below 1"
        case "gradient_clip_val" if not is_number(value) or not 0 < value < math.inf:
            return "must be a number above 0; without it, gradients are left as they are"
        case "gradient_clip_algorithm" if value not in CLIP_ALGORITHMS:
            return f"must be one of {', '.join(CLIP_ALGORITHMS)}"
        case "gradient_clip_algorithm" if "gradient_clip_val" not in trainer:
            return "clips nothing without trainer.gradient_clip_val"
        case "profiler" if not (value is None or value in PROFILERS or isinstance(value, Mapping)):
            return f"must be one of {', '.join(PROFILERS)}, or the _target_ of a Profiler of PyTorch Lightning's"
        case "log_every_n_steps" if type(value) is not int or value < 1:
            return "must be a whole number of epochs, 1 or more"
        case "default_root_dir" if not isinstance(value, str | None):
            return "must be a folder"
        case "deterministic" if not (value == "warn" or isinstance(value, bool | None)):
            return "must be true, false, warn or null"
        case _ if key in SWITCHES and not isinstance(value, bool | None):
            return "must be true, false or null"
    return None


def is_one_device(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) == 1 and type(value[0]) is int
    return type(value) in (int, str) and str(value) == "1"


def is_limit(value: Any) -> bool:
    return is_number(value) and (value >= 1 if isinstance(value, int) else 0 < value < 1)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_accelerator(config: Mapping[str, Any]) -> None:
    """Raise ZooError if this machine lacks the device that a node's config wants to be trained on."""
    trainer = config.get("trainer")
    wanted = trainer.get("accelerator") if isinstance(trainer, Mapping) else None
    if wanted in ("gpu", "cuda", "mps") and not is_there(wanted):
        raise ZooError(
            f"trainer.accelerator={wanted}: PyTorch finds none on this machine. Give trainer.accelerator=cpu, or "
            "install a PyTorch that knows this machine's"
        )


@cache
def is_there(accelerator: str) -> bool:
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    return {"gpu": cuda or mps, "cuda": cuda, "mps": mps}[accelerator]

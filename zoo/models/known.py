"""Which classes a params.json may name as a model: those of this package, of torchvision and of PyTorch.

Whoever wrote a zoo wrote its params.json. So a name there is compared with names that are known, before anything of it
is imported, and is never followed through the attributes of a module to what that imports.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from torch import nn

import zoo.models

OWN = tuple(f"zoo.models.{module.name}" for module in pkgutil.iter_modules(zoo.models.__path__))
PYTORCH = "torch.nn"
TORCHVISION = "torchvision.models"

Builder = Callable[..., nn.Module]


def known_model(target: str) -> Builder | None:
    """A class of zoo.models, one of torchvision's models, or of PyTorch's modules; None if the name is none of these.

    They execute nothing of what a zoo says as long as their arguments are plain values.
    """
    module, _, name = target.rpartition(".")
    if module in OWN:
        found = getattr(importlib.import_module(module), name, None)
        return found if is_class(found, nn.Module) and found.__module__ == module else None
    if module == PYTORCH or module.startswith(f"{PYTORCH}.modules."):
        found = getattr(nn, name, None)
        own = is_class(found, nn.Module) and found.__module__.startswith(f"{PYTORCH}.modules.")
        return found if own and module in (PYTORCH, found.__module__) else None
    if module == TORCHVISION or module.startswith(f"{TORCHVISION}."):
        from torchvision import models  # takes a second

        builders = {builder: models.get_model_builder(builder) for builder in models.list_models(models)}
        found = builders.get(name)
        return found if found and module in (TORCHVISION, found.__module__) else None
    return None


def is_class(found: Any, kind: type) -> bool:
    return isinstance(found, type) and issubclass(found, kind)

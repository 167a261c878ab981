"""An analysis as it was chosen: a function from a dataset of models to results, and its options."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.analysis.results import Results
from zoo.errors import ZooError

SCRATCH = "scratch"
"""The parameter by which a function asks for a folder: what it puts there stays until its analysis is complete, so that
an analysis that was interrupted goes on from it."""


@dataclass(frozen=True)
class Analysis:
    """`name`: of its folder in the zoo. `function(dataset, **options)` gives `Results`."""

    name: str
    function: Callable[..., Results]
    options: Mapping[str, Any]

    def require_sound(self) -> None:
        """Raise ZooError for an option that the function has not, or for one that it needs."""
        known = list(inspect.signature(self.function).parameters.values())[1:]
        names = [parameter.name for parameter in known if parameter.name != SCRATCH]
        for option in self.options:
            if option not in names:
                raise ZooError(
                    f"analysis.{self.name}.{option}: no such option, choose from {', '.join(names) or 'none'}"
                )
        for parameter in known:
            if parameter.default is parameter.empty and parameter.name not in {*self.options, SCRATCH}:
                raise ZooError(f"analysis.{self.name} needs the option {parameter.name}")

    @property
    def goes_on(self) -> bool:
        """Whether it can go on after an interruption."""
        return SCRATCH in inspect.signature(self.function).parameters

    def description(self) -> dict[str, Any]:
        """What decides what is found, but for the zoo: equal analyses of equal zoos need not be made twice."""
        return {
            "function": f"{self.function.__module__}.{self.function.__qualname__}",
            "options": dict(self.options),
            "code_sha256": hashlib.sha256(Path(inspect.getfile(self.function)).read_bytes()).hexdigest(),
        }

    def __call__(self, dataset: Any, folder: Path) -> Results:
        """`folder`: for what an interrupted one goes on from."""
        return self.function(dataset, **self.options, **({SCRATCH: folder} if self.goes_on else {}))

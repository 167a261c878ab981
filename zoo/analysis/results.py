"""What an analysis gives back, and how it lies in a zoo."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from safetensors.numpy import save

from zoo.analysis import style
from zoo.disk import files, paths
from zoo.format import tables
from zoo.format.reading import damaged


@dataclass(frozen=True)
class Results:
    """What an analysis found: everything by the name of the file that it becomes, without its ending.

    `tables`: NAME.csv. `figures`: NAME.png and NAME.svg, and both for dark pages. `arrays`: NAME.safetensors each, of
    named arrays. `numbers`: what JSON can hold, kept in the analysis' record. `models`: columns that are added to
    models.csv, each called ANALYSIS.COLUMN there; its index are models' ids, those without a row have no value.
    """

    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    models: pd.DataFrame | None = None

    def write(self, folder: Path) -> None:
        """Write all of it into an empty folder, but for the numbers."""
        for name, table in self.tables.items():
            tables.write(paths.table(folder, name), table)
        for name, figure in self.figures.items():
            style.save(folder, name, figure)
        for name, arrays in self.arrays.items():
            content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
            files.write_bytes(paths.arrays(folder, name), content)
        if self.models is not None:
            tables.write(paths.annotations(folder), self.models.rename_axis("id").reset_index())


def annotations(folder: Path) -> pd.DataFrame | None:
    """The columns that an analysis, kept in `folder`, adds to models.csv, as texts by `id`; None if it adds none."""
    path = paths.annotations(folder)
    if not path.exists():
        return None
    table = tables.read_cells(path)
    if "id" not in table or table["id"].duplicated().any():
        raise damaged(path, f"it has no column of different ids: remove {folder}, and analyse the zoo again")
    return table.set_index("id")

"""A zoo of some models of another."""

from pathlib import Path
from typing import Any

from zoo.curation.gather import Model, config_of, origin, put_together, require_apart
from zoo.curation.open_zoo import OpenZoo
from zoo.disk import files
from zoo.disk.folders import require_new
from zoo.errors import ZooError
from zoo.format.where import rows_where
from zoo.publication.make import make_zoo


def extract(path: Path, where: str, into: Path) -> dict[str, Any]:
    """Make the zoo `into` of the models for which an expression over models.csv is true; return its summary.

    Raises ZooError if there are none, for what is no such expression, and if `into` is there.
    """
    require_new(into, "--into")
    require_apart(into, [path])
    zoo = OpenZoo.of(path)
    ids = zoo.models["id"][rows_where(zoo.models, where)].tolist()
    if not ids:
        raise ZooError(f"no model of {path} is one of which {where!r} is true: models.csv has their values")
    models = [Model.of(zoo, id) for id in ids]
    rows = {model.node: model.row | {"trainer.max_epochs": zoo.max_epochs} for model in models}
    provenance = {"extracted_from": origin(zoo), "where": where}
    config = config_of(into.resolve().name, rows, [zoo], provenance)

    def fill(new: Path) -> dict[str, str]:
        put_together(new, models, rows, config, zoo.architecture)
        return {}

    with files.storage_errors():
        return make_zoo(into, fill)

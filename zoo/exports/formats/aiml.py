"""The released zoos' layout with every model at the root: WeightCLIP, SANE, MultiZoo-SANE, PhaseTransitionModelZoo."""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zoo.data.images import SPLITS, Images, Split
from zoo.disk import files, paths
from zoo.errors import ZooError
from zoo.exports import canonical, runs
from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.exports.many_files import state, write_all
from zoo.format import tables
from zoo.format.reading import is_plain_name, reading

PROGRESS = "progress.csv"


@dataclass(frozen=True)
class Model:
    id: int
    node: str
    name: str  # of its folder
    epochs: list[int]
    keys: list[str] | None  # that its states get; None leaves their files as they are


def write(content: Content, out: Path, options: Options) -> None:
    runs.put(runs.own(paths.config(content.zoo), content.zoo), paths.config(out))
    files.write_torch(paths.images(out), pairs(content.dataset.images()))
    job = functools.partial(write_model, content.zoo, out)
    write_all(job, models(content, options), len(content), "state")


def pairs(images: Images) -> dict[str, list[tuple[object, int]]]:
    """Each split as a list of (image, label), which has a length, items and an order, and needs no class to load."""

    def listed(split: Split) -> list[tuple[object, int]]:
        return list(zip(split.images, split.labels.tolist(), strict=True))

    return {name: listed(getattr(images, name)) for name in SPLITS}


def models(content: Content, options: Options) -> list[Model]:
    epochs = content.states.groupby("id")["epoch"].apply(list)
    made = []
    for id, row in content.models.iterrows():
        own = content.architecture.variants[row["variant"]]
        wanted = own if options.as_trained else canonical.keys(content.architecture, row["variant"])
        name = released_name(row) if options.released_names else row["node"]
        made.append(Model(int(id), row["node"], name, epochs[id], None if wanted == own else wanted))
    return made


def released_name(model: pd.Series) -> str:
    """As Ray named the folder of a trial, for those who look for `NN_tune_trainable_seed=*`."""
    name = f"NN_tune_trainable_seed={model.get('seed', model['id'])}_{model['node']}"
    if not is_plain_name(name):
        raise ZooError(f"the node {model['node']} has too long a name to be given more: leave out --released-names")
    return name


def progress(result: Path) -> pd.DataFrame:
    """What result.json says of each epoch in numbers, as Ray had it beside that."""
    with reading(result):
        records = [json.loads(line) for line in result.read_text(encoding="utf-8").splitlines()]
        return pd.DataFrame(records)[["training_iteration", *tables.LOSSES_AND_ACCURACIES]]


def write_model(zoo: Path, out: Path, model: Model) -> int:
    folder = out / model.name
    runs.put_records(zoo, model.node, folder)
    if model.keys is None:
        runs.put_checkpoints(zoo, model.node, folder, model.epochs)
    else:
        for epoch in model.epochs:
            path = paths.checkpoint(folder, epoch)
            path.parent.mkdir()
            path.write_bytes(files.torch_bytes(state(zoo, model.id, epoch, model.keys)))
    tables.write(folder / PROGRESS, progress(paths.result(folder)))
    runs.put_optimizers(zoo, model.node, folder, model.epochs)
    return len(model.epochs)


FORMAT = Format(write, epochs="all", options=("released_names", "as_trained"), finite=False)

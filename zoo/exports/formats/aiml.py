"""The released zoos' layout with every model at the root: WeightCLIP, SANE, MultiZoo-SANE, PhaseTransitionModelZoo."""

import functools
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from zoo.data.images import SPLITS, Images, Split
from zoo.disk import files, paths
from zoo.errors import ZooError, one_line
from zoo.exports import canonical, runs
from zoo.exports.content import Content
from zoo.exports.format import Format, Options
from zoo.exports.many_files import state, write_all
from zoo.format import tables
from zoo.format.reading import is_plain_name

PROGRESS = "progress.csv"


@dataclass(frozen=True)
class Model:
    id: int
    name: str  # of its folder
    epochs: list[int]
    keys: list[str]  # that its states get
    rekeyed: bool  # whether these are others than its files have


def write(content: Content, out: Path, options: Options) -> None:
    runs.files_of.cache_clear()  # a zoo may have been made anew since the last export
    runs.put(runs.files_of(content.zoo).config(), paths.config(out))
    put_images(content, out)
    job = functools.partial(write_model, content.zoo, out)
    write_all(job, models(content, options), len(content), "state")


def put_images(content: Content, out: Path) -> None:
    """The images, without which most readers do; a zoo that was made elsewhere can have none."""
    try:
        images = content.dataset.images()
    except ZooError as error:
        if runs.was_made_here(content.zoo):
            raise
        print(f"without {paths.images(out).name}, the images that some readers evaluate models on ({one_line(error)})")
        return
    files.write_torch(paths.images(out), pairs(images))


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
        made.append(Model(int(id), name, epochs[id], wanted, wanted != own))
    return made


def released_name(model: pd.Series) -> str:
    """As Ray named the folder of a trial, for those who look for `NN_tune_trainable_seed=*`."""
    name = f"NN_tune_trainable_seed={model.get('seed', model['id'])}_{model['node']}"
    if not is_plain_name(name):
        raise ZooError(f"the node {model['node']} has too long a name to be given more: leave out --released-names")
    return name


def progress(zoo: Path, model: int) -> pd.DataFrame:
    """What result.json says of each epoch in numbers, as Ray had it beside that."""
    table = pd.DataFrame(runs.records(zoo, model))
    return table.reindex(columns=["training_iteration", *tables.LOSSES_AND_ACCURACIES])


def write_model(zoo: Path, out: Path, model: Model) -> int:
    folder = out / model.name
    runs.put_records(zoo, model.id, folder)
    for epoch in model.epochs:
        own = None if model.rekeyed else runs.files_of(zoo).checkpoint(model.id, epoch)
        found = bytes(files.torch_bytes(state(zoo, model.id, epoch, model.keys))) if own is None else own
        runs.put(found, paths.checkpoint(folder, epoch))
    tables.write(folder / PROGRESS, progress(zoo, model.id))
    runs.put_optimizers(zoo, model.id, folder, model.epochs)
    return len(model.epochs)


FORMAT = Format(write, epochs="all", options=("released_names", "as_trained"), finite=False)

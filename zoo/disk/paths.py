"""Every file name in a sweep, a run and a zoo. No other module spells one."""

import re
from pathlib import Path

# a sweep, and the zoo made from it


def config(folder: Path) -> Path:
    """The search pattern and the training protocol."""
    return folder / "config.json"


def images(folder: Path) -> Path:
    """The images as trained on."""
    return folder / "dataset.pt"


def nodes(folder: Path) -> Path:
    """The table of nodes: the name of each, and what varies among them. A complete sweep holds them all."""
    return folder / "nodes.csv"


def old_nodes(folder: Path) -> Path:
    """The names of all nodes, one a line: what version 0.1.0 wrote instead, and so the mark of its sweeps."""
    return folder / "nodes.txt"


def source(folder: Path, group: str) -> Path:
    """The file of code that the user gave for a config group, as it was when the sweep began."""
    return folder / f"source_{group}.py"


def multirun(sweep: Path) -> Path:
    """What Hydra's own sweepers leave."""
    return sweep / "multirun.yaml"


def dropped(sweep: Path) -> Path:
    """The runs that were dropped from the sweep, beside it."""
    return sweep.with_name(f".{sweep.name}.dropped")


def lock(folder: Path) -> Path:
    """Held by whoever trains in this sweep, or in this run."""
    return folder / ".lock"


# a run: a directory in a sweep, or in a zoo's models/


def params(run: Path) -> Path:
    """The node's exact hyperparameters."""
    return run / "params.json"


def result(run: Path) -> Path:
    """The record: one JSON object a line per epoch, from epoch 0."""
    return run / "result.json"


def checkpoint(run: Path, epoch: int) -> Path:
    """The bare state_dict after `epoch` epochs; epoch 0 is the initialisation."""
    return run / f"checkpoint_{epoch:06d}" / "checkpoints"


def optimizer(run: Path, epoch: int) -> Path:
    """What exact resumption from `epoch` needs beside the state; kept for the latest epoch, in training for two."""
    return run / f"checkpoint_{epoch:06d}" / "optimizer"


def optimizers(run: Path) -> list[Path]:
    """Those that there are, by epoch."""
    return sorted(run.glob("checkpoint_*/optimizer"))


def vectors(run: Path) -> Path:
    """The run's states as the weights of a zoo will have them, until they have: float32 [epochs, parameters]."""
    return run / ".vectors.tmp"


def environment(run: Path) -> Path:
    """By what the run was trained: engine, versions, processor."""
    return run / "environment.json"


def epoch_of(checkpoint: Path) -> int:
    """The epoch whose state lies in this file."""
    return int(checkpoint.parent.name.removeprefix("checkpoint_"))


def checkpoints(run: Path) -> list[Path]:
    """Those that there are, by epoch."""
    return sorted(run.glob("checkpoint_*/checkpoints"))


def of_epochs(run: Path) -> list[Path]:
    """Everything that the run has by epoch, folders and files."""
    return [path for folder in run.glob("checkpoint_*") for path in (folder, *folder.glob("*"))]


def log(folder: Path) -> Path:
    """What training the run printed, if anything; of a sweep, the commands that trained in it."""
    return folder / "log.txt"


def error(run: Path) -> Path:
    """Why the run failed, if it did: traceback and log."""
    return run / "error.txt"


def pack_error(run: Path) -> Path:
    """Why training the run together with others failed, if it did: they were then trained one by one."""
    return run / "pack_error.txt"


def profile(run: Path) -> Path:
    """What trainer.profiler measured; Lightning puts `fit-` before the name, and `.txt` after it."""
    return run / "profile"


def hydra(run: Path) -> Path:
    """Hydra's own record of a run, written before it begins."""
    return run / ".hydra"


# the cache of prepared images


def prepared(cache: Path, name: str, digest: str) -> Path:
    """The prepared images of a data config, which has this digest."""
    return cache / f"{name}-{digest}.pt"


def is_of_preparation(name: str) -> bool:
    """Whether a file of the cache is one of prepared images, or what is noted of their raw files."""
    return re.fullmatch(r".+-[0-9a-f]{12}\.(pt|json)", name) is not None


def raw_files(prepared: Path) -> Path:
    """What the raw files were like that the prepared images come from."""
    return prepared.with_suffix(".json")


def preparation_lock(cache: Path) -> Path:
    """Held by the process that prepares images in the cache."""
    return cache / ".prepare.lock"


def preparation_leftovers(cache: Path) -> list[Path]:
    """The temporary files of preparations that are under way, or were ended in the middle."""
    return list(cache.glob(".*-????????????.*.tmp"))


# a zoo; its config.json, dataset.pt and nodes.csv are named as the sweep's


def readme(zoo: Path) -> Path:
    """What the zoo is and how to load it."""
    return zoo / "README.md"


def licence(zoo: Path) -> Path:
    return zoo / "LICENSE"


def citation(zoo: Path) -> Path:
    return zoo / "CITATION.cff"


def model_source(zoo: Path) -> Path:
    """The model class, importable alone."""
    return zoo / "model.py"


def architecture(zoo: Path) -> Path:
    """Layers and tensors, and where each lies in the weight vector."""
    return zoo / "architecture.json"


def index_dict(zoo: Path) -> Path:
    """Where each layer lies in the weight vector, in the released form."""
    return zoo / "index_dict.json"


def models(zoo: Path) -> Path:
    """The table of models."""
    return zoo / "models.csv"


def metrics(zoo: Path) -> Path:
    """The table of states: a row per model and epoch."""
    return zoo / "metrics.csv"


def binary_tables(zoo: Path) -> Path:
    """Both tables in binary, of a large zoo."""
    return zoo / "tables.safetensors"


def weights(zoo: Path) -> Path:
    """All states as one tensor."""
    return zoo / "weights.safetensors"


def weights_shard(zoo: Path, number: int, count: int) -> Path:
    """The same in `count` files, numbered from 1."""
    return zoo / f"weights-{number:05d}-of-{count:05d}.safetensors"


def all_weights(zoo: Path) -> list[Path]:
    """The files that hold them."""
    return sorted(zoo.glob("weights*.safetensors"))


def weights_index(zoo: Path) -> Path:
    """Which models lie in which of these files."""
    return zoo / "weights.safetensors.index.json"


def checksums(zoo: Path) -> Path:
    """The sha256 of every other file, as `sha256sum` writes and checks them."""
    return zoo / "SHA256SUMS"


def runs(zoo: Path) -> Path:
    """The models' run directories."""
    return zoo / "models"


def runs_archive(zoo: Path) -> Path:
    """The models' runs as one zip file, in a compact zoo: without the checkpoints that follow from the weights."""
    return zoo / "runs.zip"


def summary(zoo: Path) -> Path:
    """The zoo in numbers."""
    return zoo / "analysis" / "summary.json"


def accuracy_by_factor(zoo: Path) -> Path:
    """The table of final test accuracies by generating factor."""
    return zoo / "analysis" / "accuracy_by_factor.csv"


def accuracy_over_epochs(zoo: Path) -> Path:
    """The figure of test accuracies at every epoch."""
    return zoo / "analysis" / "accuracy_over_epochs.png"


def final_accuracy(zoo: Path) -> Path:
    """The figure of final test accuracies."""
    return zoo / "analysis" / "final_accuracy.png"


def analysis(zoo: Path, name: str) -> Path:
    """What an analysis found: a folder."""
    return zoo / "analysis" / name


def analyses(zoo: Path) -> list[Path]:
    """The folders of all analyses that the zoo has, by name."""
    return sorted(record.parent for record in (zoo / "analysis").glob("*/analysis.json"))


def analysis_record(folder: Path) -> Path:
    """What was analysed, with which options, and numbers that were found: the mark of an analysis that is complete."""
    return folder / "analysis.json"


def analysis_error(zoo: Path, name: str) -> Path:
    """Why an analysis failed, if it did."""
    return zoo / "analysis" / f"{name}_error.txt"


def annotations(folder: Path) -> Path:
    """The columns that an analysis adds to the table of models."""
    return folder / "models.csv"


def table(folder: Path, name: str) -> Path:
    return folder / f"{name}.csv"


def picture(folder: Path, name: str, kind: str) -> Path:
    return folder / f"{name}.{kind}"


def arrays(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def interrupted(zoo: Path, name: str) -> Path:
    """What an analysis that takes long has done so far, beside the zoo, until it is complete."""
    return zoo.with_name(f".{zoo.name}.analysis") / name


def archive(zoo: Path) -> Path:
    """The whole zoo as one file, beside it."""
    return zoo.with_name(f"{zoo.name}.zip")


# an export; all else in it is named by its format


def export(folder: Path) -> Path:
    """Of which zoo it is, and what it holds: the mark of a folder that an export may replace."""
    return folder / "export.json"


def features(folder: Path) -> Path:
    """Of an export for TensorFlow: what its examples hold."""
    return folder / "features.json"


def records_of_split(folder: Path, split: str, number: int, count: int) -> Path:
    """The examples of a split, in `count` files, numbered from 0."""
    return folder / f"{split}-{number:05d}-of-{count:05d}.tfrecord"


def records(folder: Path, split: str | None) -> list[Path]:
    """All of a split's, or of all splits."""
    return sorted(folder.glob(f"{split or '*'}-*-of-*.tfrecord"))


# any folder that is replaced as a whole


def folder_in_progress(folder: Path) -> Path:
    """Where it is put together before it takes its place."""
    return folder.with_name(f".{folder.name}.new")


def folder_replaced(folder: Path) -> Path:
    """Where the old one goes while the new one takes its place."""
    return folder.with_name(f".{folder.name}.old")


def folder_lock(folder: Path) -> Path:
    """Held by the process that replaces it."""
    return folder.with_name(f".{folder.name}.lock")

"""A zoo for TensorFlow: needs `pip install 'model-zoos[tensorflow]'`, and no PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.disk import files, paths
from zoo.errors import ZooError

try:
    import tensorflow as tf
except ModuleNotFoundError as error:
    raise ZooError("zoo.tensorflow needs TensorFlow: pip install 'model-zoos[tensorflow]'") from error

if TYPE_CHECKING:
    Sample = tuple[tf.Tensor, dict[str, tf.Tensor]]

TYPES = {"int": tf.int64, "float": tf.float32, "byte": tf.string}


def dataset(path: Path | str, split: str | None = None) -> "tf.data.Dataset":
    """The states of an export made by `python -m zoo export ZOO --to tf PATH`, each as (weights, properties).

    `weights` is a vector [parameters], float32; `properties` is a dict of scalars, by the names that `ZooDataset` has.
    `split`: train, val or test, None for all of them, one after the other. Raises ZooError for a folder that is no such
    export, or if it has no such split.
    """
    folder = Path(path)
    if not paths.features(folder).is_file():
        raise ZooError(f"{folder} is no export for TensorFlow: make one by `python -m zoo export ZOO --to tf {folder}`")
    described = files.read_json(paths.features(folder))
    records = paths.records(folder, split)
    if not records:
        raise ZooError(f"{folder} has no states of the split {split!r}: choose train, val or test, or None for all")
    found = tf.data.TFRecordDataset([str(file) for file in records])
    return found.map(lambda record: parsed(record, described), num_parallel_calls=tf.data.AUTOTUNE)


def layout(path: Path | str) -> list[dict[str, Any]]:
    """How a vector falls into tensors: name, shape, start and length of each."""
    return files.read_json(paths.features(Path(path)))["layout"]


def parsed(record: "tf.Tensor", described: dict[str, Any]) -> "Sample":
    kinds = described["properties"]
    features = {f"property/{key}": tf.io.FixedLenFeature([], TYPES[kind]) for key, kind in kinds.items()}
    example = tf.io.parse_single_example(record, {"weights": tf.io.FixedLenFeature([], tf.string), **features})
    weights = tf.io.decode_raw(example["weights"], tf.float32, little_endian=True)
    properties = {key: example[f"property/{key}"] for key in kinds}
    return tf.ensure_shape(weights, [described["parameters"]]), properties

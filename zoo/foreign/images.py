"""The images of a raw zoo: the file dataset.pt, in the form of the 2022 zoos or of this project."""

from io import BytesIO
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from zoo.data.images import SPLITS, Images, Split
from zoo.errors import ZooError, one_line
from zoo.foreign.container import Container

LARGEST = 2**35  # bytes


def released_images(files: Container, name: str) -> Images:
    """Read as tensors and plain values; of classes, PyTorch's TensorDataset alone, which is nothing but tensors.

    Their normalisation is not in the file: `mean` and `std` are empty. Raises ZooError for what has other classes.
    """
    path = files.named(name)
    content = files.read(name, LARGEST)
    try:
        with torch.serialization.safe_globals([TensorDataset]):
            saved = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        splits = {key: split_in(saved.get(key)) for key in SPLITS}
        classes = 1 + max(int(split.labels.max()) for split in splits.values() if len(split))
        names = [str(label) for label in saved.get("classes", range(classes))]
        seed = saved.get("split_seed", saved.get("dataset_seed", -1))
        mean, std = ([float(value) for value in saved.get(key, [])] for key in ("mean", "std"))
        return Images(
            str(saved.get("name", path.parent.name)), **splits, split_seed=int(seed), classes=names, mean=mean, std=std
        )
    except Exception as error:  # whatever the bytes lead to
        raise ZooError(
            f"{path} holds no images that can be read without executing code ({one_line(error)[:200]}): "
            "prepare those that the models were trained on"
        ) from error


def split_in(saved: Any) -> Split:
    if isinstance(saved, dict):
        images, labels = saved["images"], saved["labels"]
    elif isinstance(saved, TensorDataset):
        images, labels = saved.tensors
    elif isinstance(saved, list):  # of pairs, as `python -m zoo export --to aiml` writes them
        images = torch.stack([image for image, _ in saved])
        labels = torch.tensor([label for _, label in saved])
    elif saved is None:
        images, labels = torch.zeros(0, 1, 1, 1), torch.zeros(0, dtype=torch.int64)
    else:
        raise ValueError(f"a split is a {type(saved).__name__}")
    if not (isinstance(images, Tensor) and isinstance(labels, Tensor) and len(images) == len(labels)):
        raise ValueError("a split is no pair of images and labels")
    if images.dim() != 4 or images.dtype != torch.float32 or labels.dtype != torch.int64:
        raise ValueError(f"a split has images {tuple(images.shape)} {images.dtype}, labels {labels.dtype}")
    return Split(images, labels)

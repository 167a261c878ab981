"""A zoo as a data set of models: their weights, and the properties that go with them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from zoo.data.images import Images
from zoo.dataset import forward
from zoo.dataset.batch import Batch
from zoo.dataset.network import Build, build_network, checked_vector, key_of, with_weights
from zoo.dataset.opening import open_source
from zoo.dataset.properties import Properties
from zoo.dataset.selection import LAST, Epochs, Selection, checked_epochs, epoch_of
from zoo.dataset.several import Several
from zoo.dataset.splits import SPLITS, split_models
from zoo.errors import ZooError
from zoo.format import binary_tables

__all__ = ["SPLITS", "ZooDataset", "split_models"]

Paths = Path | str | Sequence[Path | str]
Transform = Callable[[Tensor], Any]


class ZooDataset(Dataset[tuple[Any, dict[str, Any]]]):
    """Model states as samples: item i is (weights [parameters], properties).

    Samples are ordered by model (as in models.csv), then by epoch. Weights are memory-mapped: opening a zoo reads
    none of them, and processes share them. Properties are the model (`id`, `node`), the `epoch`, the model's
    hyperparameters (`factors` names those that vary), and at this epoch losses, accuracies and `ggap`, the
    generalisation gap: train minus test accuracy.

    With `window`, item i is (weights [window, parameters], properties) of a model's consecutive epochs; the epoch and
    the metrics among the properties then are NumPy arrays [window].

    docs/dataset.md shows what it can do.
    """

    def __init__(
        self,
        path: Paths,
        epochs: Epochs = None,
        split: str | None = None,
        finite: bool = True,
        *,
        splits: Mapping[str, float] | None = None,
        seed: int = 0,
        stratify: str | None = None,
        where: str | None = None,
        status: str | None = None,
        max_weight: float | None = None,
        window: int | None = None,
        transform: Transform | None = None,
        trust: bool = False,
        build: Build | None = None,
    ):
        """`path`: a zoo, in a folder or zip file, or several of one architecture. `epochs`: the ones to take, None for
        all; 0 is the initialisation, -1 the last there can be, "last" the last that a model has, "best" that of its
        best validation accuracy. `split`: train, val or test, which are about 70, 15 and 15 % of the models, each with
        all its epochs; None for all models. A model's split follows from its node's name alone (see `split_models`): it
        stays when a zoo grows or is merged. In a zoo of few models the shares are far from these, and a split can be
        empty: then so is the dataset.

        `splits`: other splits, by name with the fraction of each, drawn by `seed`, and with the same shares among the
        models of each value of the column `stratify`, if it is given. These are exact, but change when a zoo grows.

        `finite` leaves out states that do not exist, since their model is unfinished or diverged before, and states
        with weights that are not finite. Otherwise the former are samples, too, with NaN for weights and metrics.

        `where` takes the models for which a condition on the columns of models.csv is true, such as
        "optim == 'adam' and test_acc > .9"; metrics are those after a model's last epoch. `status`: finished,
        unfinished or diverged models. `max_weight` leaves out states with a larger |weight|, for which all are read.

        `window`: how many consecutive epochs, of those asked for, a sample has. `transform` gets a sample's weights;
        what it returns stands in their place. If it has a true attribute `batched`, as those of
        zoo.dataset.transforms have, it is given a loader's whole batch at once: weights [batch, parameters] or
        [batch, window, parameters]. `trust` allows that code in the zoo is run, where the class of its models is not
        known here. `build` makes a network of such a model instead, of what its params.json holds; weights go in by
        the order of its tensors.

        Raises ZooError for what is no zoo, a damaged file, and an unknown epoch, split or column.
        """
        self.paths = [Path(one) for one in ([path] if isinstance(path, str | Path) else path)]
        epochs = list(epochs) if isinstance(epochs, Iterator) else epochs
        self.selection = Selection(epochs, split, finite, splits, seed, stratify, where, status, max_weight, window)
        self.selection.require_sound()
        for name, given, takes in (("transform", transform, "weights"), ("build", build, "a model's params")):
            if given is not None and not callable(given):
                raise ZooError(f"{name}={given!r}: give a callable that takes {takes}")
        self.split, self.finite, self.window = split, finite, window
        self.transform, self.trust, self.build = transform, trust, build
        self.source = open_source(self.paths[0]) if isinstance(path, str | Path) else opened(self.paths)
        self.path, self.architecture = self.source.path, self.source.architecture
        self.mapped = self.source.weights
        self.asked = checked_epochs(epochs, self.source)
        if not self.large:
            self.models, self.states, self.factors, self.rows, self.epochs  # noqa: B018  what is wrong is an error now

    @property
    def large(self) -> bool:
        """Then its tables are read, and errors in them are seen, when they are first used."""
        return self.mapped.shape[0] * self.mapped.shape[1] >= binary_tables.LARGE

    @cached_property
    def models(self) -> pd.DataFrame:
        """The table of all models in the zoo, whichever are in the dataset."""
        return self.source.models

    @cached_property
    def states(self) -> pd.DataFrame:
        """The table of all states in the zoo."""
        return self.source.states

    @cached_property
    def factors(self) -> list[str]:
        """The generating factors: columns of `models`."""
        return self.source.factors

    @cached_property
    def rows(self) -> np.ndarray:
        """The samples as row numbers of the weights, model x epochs + epoch: [samples] or [samples, window]."""
        return self.selection.rows(self.source, self.asked)

    @cached_property
    def epochs(self) -> list[int]:
        """Those that samples can have, ascending."""
        return np.unique(self.rows % self.mapped.shape[1]).tolist() if self.asked is None else self.asked

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        """The sample at a position; a list of samples for a slice or several positions."""
        if isinstance(index, slice):
            return self.several(range(len(self))[index])
        if isinstance(index, Sequence | np.ndarray | Tensor) and np.ndim(index):
            return self.several(self.positions(index))
        if self.window is not None:
            return self.several([index])[0]
        model, epoch = divmod(int(self.rows[index]), self.mapped.shape[1])
        weights = self.mapped.state(model, epoch)
        properties = self.samples.one(self.samples.places[index], model, epoch)
        return weights if self.transform is None else self.transform(weights), properties

    def positions(self, samples: Any) -> np.ndarray:
        """Of several samples, given by these, or by a mask of all."""
        given = np.asarray(samples)
        return np.arange(len(self))[given] if given.dtype == bool else given.astype(np.int64)

    def __getitems__(self, indices: Any) -> Batch:
        """Several samples at once: PyTorch's DataLoader asks for its batches so, and collates them by `collated`."""
        return Batch(self, indices)

    def several(self, indices: Any) -> list[tuple[Any, dict[str, Any]]]:
        """The samples at several positions."""
        chosen = np.asarray(indices, dtype=np.int64)
        return list(zip(self.inputs(chosen), self.properties_of(chosen), strict=True))

    def collated(self, indices: np.ndarray) -> list[Any]:
        """The samples at several positions as one: weights [samples, ...], and properties with a value per sample."""
        return [self.collated_inputs(indices), self.samples.collated(indices)]

    def collated_inputs(self, indices: np.ndarray) -> Any:
        """The weights of several samples [samples, ...], transformed; never a view of the file."""
        if self.transform is not None and not is_batched(self.transform):
            return default_collate(list(self.inputs(indices)))
        rows = self.rows[indices]
        weights = self.mapped.states(rows.ravel())
        if weights.untyped_storage().nbytes() > weights.nbytes:  # would be sent whole from a worker process
            weights = weights.clone()
        weights = weights.view(*rows.shape, -1)
        return weights if self.transform is None else self.transform(weights)

    def inputs(self, indices: Any) -> Sequence[Any]:
        """The weights of several samples, transformed."""
        rows = self.rows[np.asarray(indices, dtype=np.int64)]
        if self.transform is not None and is_batched(self.transform):
            return unbound(self.transform(self.mapped.states(rows.ravel()).view(*rows.shape, -1)))
        weights = list(map(self.mapped.states, rows)) if self.window else self.single(rows)
        return weights if self.transform is None else list(map(self.transform, weights))

    def single(self, rows: np.ndarray) -> list[Tensor]:
        """The weights of some states, each a view."""
        epochs = self.mapped.shape[1]
        return [self.mapped.state(*divmod(row, epochs)) for row in rows.tolist()]

    def properties_of(self, indices: np.ndarray) -> list[dict[str, Any]]:
        if self.window is not None:
            return self.samples.of_windows(indices)
        models, epochs = np.divmod(self.rows[indices], self.mapped.shape[1])
        places = self.samples.places[indices]
        return list(map(self.samples.one, places.tolist(), models.tolist(), epochs.tolist()))

    def __reduce__(self) -> tuple[Any, ...]:
        """A worker process maps the files anew rather than be sent what is in them."""
        options = vars(self.selection) | {"transform": self.transform, "trust": self.trust, "build": self.build}
        return reopened, (type(self), self.paths if isinstance(self.source, Several) else self.paths[0], options)

    def __repr__(self) -> str:
        count, epochs, length = self.mapped.shape
        what = f"{self.architecture.model} [{length}]"
        if self.large and "rows" not in vars(self):
            return f"ZooDataset({self.path}: {count} models x {epochs} epochs of {what})"
        models = len(np.unique(self.rows.reshape(len(self), -1)[:, 0] // epochs)) if len(self) else 0
        samples = f"windows of {self.window} epochs" if self.window else "samples"
        options = [f"{key}={value!r}" for key, value in self.selection.given().items() if key != "window"]
        return f"ZooDataset({self.path}: {len(self)} {samples} of {models} models, {', '.join([what, *options])})"

    @cached_property
    def weights(self) -> Tensor:
        """The weights of all samples [samples, parameters], or [samples, window, parameters], not transformed.

        Views of the file for all states, or for one epoch of all models, of a zoo whose weights are one file;
        otherwise they are copied to memory when first used. Changing them never changes the file.
        """
        return self.mapped.states(self.rows.ravel()).view(*self.rows.shape, self.mapped.shape[2])

    @cached_property
    def samples(self) -> Properties:
        """What `properties` and the samples' own are made of."""
        return Properties(self.source, self.rows)

    @cached_property
    def properties(self) -> pd.DataFrame:
        """The properties of all samples, a row each. A hyperparameter that a model does not have is NaN or ''.

        Of windows a row for each state, by (sample, step).
        """
        return self.samples.table()

    @property
    def last_properties(self) -> pd.DataFrame:
        """The same with a row per sample: of a window, its last state's."""
        return self.properties if self.window is None else self.samples.table(state=-1)

    @property
    def layers(self) -> list[str]:
        """The names of the tensors in a model's state dict, as variant 0 has them (see docs/zoo_format.md)."""
        return list(self.architecture.variants[0])

    def layer(self, name: str) -> Tensor:
        """One tensor of all samples [samples, *shape], or [samples, window, *shape]: a view of `weights`.

        Where models name the same tensor differently, since some have dropout layers, variant 0's names come first:
        they are of that tensor in every model.
        """
        for keys in self.architecture.variants:
            if name in keys:
                entry = self.architecture.tensors[keys.index(name)]
                return self.weights[..., entry.start : entry.start + entry.length].view(*self.rows.shape, *entry.shape)
        raise ZooError(f"{self.path} has no tensor {name!r}: choose from {', '.join(self.layers)}")

    def find(self, model: int | str) -> pd.Series:
        """The row of `models` of a model, by its id or node. Raises ZooError if there is none, or several."""
        found = self.models[(self.models["id"] == model) | (self.models["node"] == model)]
        if found.empty:
            raise ZooError(f"{self.path} has no model {model!r}: give an id or a node of its table of models")
        if len(found) > 1:
            raise ZooError(
                f"{len(found)} models of {self.path} are called {model!r}: give an id, as in its table of models"
            )
        return found.iloc[0]

    def state_dict(self, model: int | str, epoch: int | str = LAST) -> dict[str, Tensor]:
        """A model's state at an epoch, to be loaded into its class. `model`: its id, or node. `epoch`: as one of
        `epochs`: a number, -1 for the last there can be, or "last" or "best" of the model's own.

        Raises ZooError, which names those that there are, if the model has no state at this epoch.
        """
        return self.architecture.unflatten(self.state(model, epoch), self.find(model)["variant"])

    def state(self, model: int | str, epoch: int | str = LAST) -> Tensor:
        """The same as a view of the weights [parameters]."""
        row = self.find(model)
        return self.mapped.state(int(row["id"]), epoch_of(epoch, row, self.source))

    def model(self, model: int | str, epoch: int | str = LAST) -> nn.Module:
        """A model at an epoch as a network, in evaluation mode."""
        return with_weights(self.untrained(model), self.architecture, self.state(model, epoch))

    def network(self, weights: Tensor, like: int | str = 0) -> nn.Module:
        """A network with these weights [parameters], in evaluation mode; all else is as in the model `like`."""
        return with_weights(self.untrained(like), self.architecture, checked_vector(weights, self.architecture))

    def vector(self, network: nn.Module | Mapping[str, Tensor]) -> Tensor:
        """The weights [parameters] of a network, or of its state dict. Raises ZooError if its tensors are others."""
        try:
            if isinstance(network, nn.Module):
                return self.architecture.flatten_network(network)
            state = network
            return self.architecture.flatten(state, self.architecture.variant_of(state)).detach()
        except ValueError as error:
            raise ZooError(f"no network of {self.path}: {error}") from error

    def untrained(self, model: int | str) -> nn.Module:
        row = self.find(model)
        return build_network(self.source, int(row["id"]), self.trust, self.build)

    def predict(
        self, images: Tensor, samples: Sequence[int] | None = None, models_at_once: int = 32, images_at_once: int = 256
    ) -> Tensor:
        """The outputs [samples, images, classes] of the samples' networks, in evaluation mode, on images [images, ...].

        `samples`: their positions in the dataset, or a mask, None for all. Models that differ in nothing but weights
        are computed together, so many at once on so many images: that bounds the memory. Raises ZooError for images
        that the networks can't take, such as those of other channels.
        """
        if self.window is not None:
            raise ZooError("predict is for states: give a dataset without a window")
        if not isinstance(images, Tensor):
            raise ZooError(f"predict takes images as a tensor [images, ...], not {type(images).__name__}")
        if min(models_at_once, images_at_once) < 1:
            raise ZooError(
                f"predict takes 1 model and image at once or more, not {models_at_once} and {images_at_once}"
            )
        chosen = self.positions(np.full(len(self), True) if samples is None else samples)
        outputs: list[Tensor] = [torch.empty(0)] * len(chosen)
        for places in self.alike(chosen).values():
            rows = self.rows[chosen[places]]
            model = int(rows[0] // self.mapped.shape[1])
            many = forward.Many(self.untrained(model), self.architecture)
            for part in forward.chunks(len(rows), models_at_once):
                found = many.outputs(self.mapped.states(rows[part]), images, images_at_once)
                for place, output in zip(places[part], found, strict=True):
                    outputs[place] = output
        return torch.stack(outputs) if outputs else torch.empty(0)

    def alike(self, chosen: np.ndarray) -> dict[Any, list[int]]:
        """Places in `chosen`, samples, by what their models' networks are but for weights."""
        groups: dict[Any, list[int]] = {}
        keys: dict[int, Any] = {}
        for place, model in enumerate((self.rows[chosen] // self.mapped.shape[1]).tolist()):
            if model not in keys:
                keys[model] = (self.models["variant"].iat[model], key_of(self.source, model))
            groups.setdefault(keys[model], []).append(place)
        return groups

    def images(self) -> Images:
        """The images that the models were trained on."""
        return self.source.images()


def opened(several: Sequence[Path]) -> Several:
    return Several([open_source(path) for path in several])


def reopened(kind: type[ZooDataset], paths: Paths, options: dict[str, Any]) -> ZooDataset:
    return kind(paths, **options)


def is_batched(transform: Any) -> bool:
    """Whether it takes a whole batch. Of several, one after another, all must."""
    if type(transform).__name__ == "Compose":  # torchvision's, which takes long to import
        return all(map(is_batched, getattr(transform, "transforms", [None])))
    return bool(getattr(transform, "batched", False))


def unbound(batch: Any) -> Sequence[Any]:
    """The samples of a transformed batch: a tensor [batch, ...], or a tuple of such."""
    if isinstance(batch, Tensor):
        return batch.unbind()
    make = getattr(type(batch), "_make", tuple)  # of a named tuple
    return [make(parts) for parts in zip(*(part.unbind() for part in batch), strict=True)]

"""What PyTorch's DataLoader gets for a batch of positions: samples, or at once what it would collate of them."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, overload

import numpy as np
from torch.utils.data._utils.collate import default_collate_fn_map  # documented at torch.utils.data.default_collate


class Collates(Protocol):
    """A dataset that can make a whole batch faster than sample by sample."""

    def several(self, indices: np.ndarray) -> list[Any]:
        """The samples at these positions."""

    def collated(self, indices: np.ndarray) -> Any:
        """The same as `torch.utils.data.default_collate` makes of these samples."""


class Pending(Sequence[Any]):
    """A sample of a batch that is made when it is looked into; its type tells `default_collate` what to do."""

    def __init__(self, dataset: Collates, position: int):
        self.dataset, self.position = dataset, position

    def __len__(self) -> int:
        return 2

    def __getitem__(self, part: Any) -> Any:
        [sample] = self.dataset.several(np.array([self.position]))
        return sample[part]

    def __iter__(self) -> Iterator[Any]:
        [sample] = self.dataset.several(np.array([self.position]))
        return iter(sample)


class Batch(Sequence[Any]):
    """Several samples (pairs) of a dataset. Nothing is made before it is asked for: a collate function of one's own
    goes through the samples, PyTorch's gets the whole batch.
    """

    def __init__(self, dataset: Collates, indices: Any):
        self.dataset, self.indices = dataset, np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, place: int) -> Any: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...

    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return Batch(self.dataset, self.indices[place])
        return Pending(self.dataset, int(self.indices[place]))

    def __iter__(self) -> Iterator[Any]:
        return iter(self.dataset.several(self.indices))


def collate(batch: Batch | Sequence[Pending], *, collate_fn_map: Any = None) -> Any:
    """What `default_collate` does with samples that are pending."""
    if not isinstance(batch, Batch):  # picked from several
        batch = Batch(batch[0].dataset, [sample.position for sample in batch])
    return batch.dataset.collated(batch.indices)


default_collate_fn_map[Pending] = collate

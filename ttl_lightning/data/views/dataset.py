"""One split as a map-style dataset over (epoch, index) keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ttl_lightning.data.samples import Integers, Labels
from ttl_lightning.data.store import Store
from ttl_lightning.data.transforms import Key, Transform
from ttl_lightning.data.views.windows import Places, WindowDraws, Windows

Batch = dict[str, Tensor]
"""What the loaders yield.

image: float32 (N, C, H, W), of windows (N, C, D, H, W). label: int64 (N,), or float32 (N, L) where
several may hold. id: int64 (N,), the position in the split. again, where a sample's input comes
again in a later epoch: int64 (N,), a number of that input among the split's. Of validation and test
windows also study: int64 (N,), the study's position in the split, and study_label: in the form of
label.
"""


class Batches(Dataset[Batch], ABC):
    """Samples that are read a batch at a time.

    Attributes:
        alone: whether they differ in size, so that a batch has one.
    """

    alone: ClassVar[bool] = False

    def __getitem__(self, key: Key) -> Batch:
        """One sample, without the batch's axis."""
        return {name: value[0] for name, value in self.__getitems__([key]).items()}

    @abstractmethod
    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch: torch's loader asks for it in this way, and it needs no collating."""


@dataclass(frozen=True, eq=False)
class ImageDataset(Batches):
    """Takes images from the store and transforms a batch at a time.

    Attributes:
        store: of all the source's images.
        rows: of this split's images in the store.
        labels: one an image of this split.
        transform: for a batch of stored images with their keys.
    """

    store: Store
    rows: Integers
    labels: Labels
    transform: Transform

    def plain(self, transform: Transform) -> ImageDataset:
        """The same images, read in another way."""
        return replace(self, transform=transform)

    def names(self, ids: Sequence[str]) -> list[str]:
        """Of the samples, from those of the split's images."""
        return list(ids)

    def __len__(self) -> int:
        """Number of images in the split."""
        return len(self.rows)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch."""
        index = np.array([index for _, index in keys], np.int64)
        images = as_batch([self.store.read(int(row)) for row in self.rows[index]])
        return {
            "image": self.transform(images, keys),
            "label": torch.from_numpy(self.labels[index]),
            "id": torch.from_numpy(index),
            **again(self.transform, keys, len(self)),
        }


@dataclass(frozen=True, eq=False)
class WindowDataset(Batches):
    """Takes windows of studies from the store and transforms a batch at a time.

    What a study that is shorter than a window lacks at its end is black.

    Attributes:
        store: of all the source's studies.
        rows: of this split's studies in the store.
        windows: of this split's studies.
        draws: how training windows are drawn; None: the grid's windows, with their studies.
        value_range: values of black and white; None: each study's own percentiles.
        transform: for a batch of windows with their keys.
    """

    store: Store
    rows: Integers
    windows: Windows
    draws: WindowDraws | None
    value_range: tuple[float, float] | None
    transform: Transform

    def plain(self, transform: Transform) -> WindowDataset:
        """The grid's windows with their studies, read in another way."""
        return replace(self, draws=None, transform=transform)

    @property
    def labels(self) -> Labels:
        """Of the grid's windows, where windows are drawn; of the studies else."""
        windows = self.windows
        return windows.labels if self.draws is None else windows.label(windows.grid)

    def names(self, ids: Sequence[str]) -> list[str]:
        """Those of the studies; where windows are drawn "<study>/<first slice>" of the grid's."""
        if self.draws is None:
            return list(ids)
        grid = self.windows.grid
        return [f"{ids[study]}/{start}" for study, start in zip(*grid, strict=True)]

    def __len__(self) -> int:
        """Number of windows an epoch."""
        return self.windows.count(self.draws or WindowDraws())

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch."""
        windows, places = self.windows, self._places(keys)
        index = np.array([index for _, index in keys], np.int64)
        batch: Batch = {
            "image": self.transform(self._voxels(places), keys),
            "label": torch.from_numpy(windows.label(places)),
            "id": torch.from_numpy(index),
        }
        if self.draws is None:
            batch |= again(self.transform, keys, len(self))
            batch["study"] = torch.from_numpy(places.studies)
            batch["study_label"] = torch.from_numpy(windows.labels[places.studies])
        return batch

    def _places(self, keys: Sequence[Key]) -> Places:
        if self.draws is not None:
            return self.windows.draw(self.draws, keys)
        index = np.array([index for _, index in keys], np.int64)
        return Places(self.windows.grid.studies[index], self.windows.grid.starts[index])

    def _voxels(self, places: Places) -> Tensor:
        """Windows (N, 1, D, R, R), float32 in [0, 1]."""
        length = self.windows.length
        images = [
            as_grey(
                self.store,
                int(self.rows[study]),
                slice(start, start + length),
                length,
                self.value_range,
            )
            for study, start in zip(*places, strict=True)
        ]
        return torch.from_numpy(np.stack(images)[:, None])


def again(transform: Transform, keys: Sequence[Key], count: int) -> Batch:
    """Of a batch, the numbers of inputs that come again in a later epoch; nothing if none does.

    Args:
        transform: makes inputs of `count` samples, the same ones of the same keys.
        keys: (epoch, index) of the batch.
        count: samples of the split.
    """
    period = transform.period
    if period is None:
        return {}
    numbers = [epoch % period * count + index for epoch, index in keys]
    return {"again": torch.tensor(numbers, dtype=torch.int64)}


def as_grey(
    store: Store, row: int, part: slice, length: int, value_range: tuple[float, float] | None
) -> NDArray[np.float32]:
    """Slices of a study, (length, R, R), from black, 0, to white, 1; black beyond its end.

    Args:
        store: of all the source's studies.
        row: of the study.
        part: its slices, no more than `length`.
        length: slices of the result.
        value_range: values of black and white; None: the study's own percentiles.
    """
    facts = store.facts(row)
    low, high = value_range or (facts.low, facts.high)
    voxels = store.read(row, part).astype(np.float32)
    grey = np.zeros((length, *facts.shape[1:]), np.float32)
    # a study of one value is black
    grey[: len(voxels)] = ((voxels - low) / max(high - low, 1e-12)).clip(0, 1)
    return grey


def as_batch(images: Sequence[NDArray[Any]]) -> Tensor:
    """Images (C, R, R) of unsigned types as (N, C, R, R), float32 in [0, 1].

    C is 1 where all of them are grey; where not, grey ones are repeated.
    """
    if len({(image.dtype, image.shape) for image in images}) == 1:
        return _to_float(np.concatenate(images)).reshape(len(images), *images[0].shape)
    channels = max(image.shape[0] for image in images)
    return torch.stack([_to_float(image).expand(channels, -1, -1) for image in images])


def _to_float(image: NDArray[Any]) -> Tensor:
    values = torch.from_numpy(image.astype(np.float32))
    return values.div_(float(np.iinfo(image.dtype).max))


def as_it_is(batch: Any) -> Any:
    """Collate function for batches that are ready."""
    return batch


def as_views(batch: Any) -> Any:
    """Collate function for batches of several views, which nothing shall take for images."""
    return {"views" if key == "image" else key: value for key, value in batch.items()}

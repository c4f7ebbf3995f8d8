"""One split as a map-style dataset over (epoch, index) keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from ttl_lightning.data.samples import Labels
from ttl_lightning.data.store import ImageStore
from ttl_lightning.data.transforms import Key, Transform


class Batch(TypedDict):
    """What the loaders yield.

    image: float32 (N, C, H, W). label: int64 (N,) or, for multilabel, float32 (N, L).
    id: int64 (N,), the position in the split.
    """

    image: Tensor
    label: Tensor
    id: Tensor


class ImageDataset(Dataset[Batch]):
    """Takes images from the store and transforms a batch at a time.

    Args:
        store: of all the source's images.
        rows: of this split's images in the store.
        labels: one an image of this split.
        transform: for a batch of stored images with their keys.
    """

    def __init__(
        self, store: ImageStore, rows: NDArray[np.int64], labels: Labels, transform: Transform
    ) -> None:
        self._store, self._rows = store, rows
        self._labels = torch.from_numpy(labels)
        self._transform = transform

    def __len__(self) -> int:
        """Number of images in the split."""
        return len(self._rows)

    def __getitem__(self, key: Key) -> Batch:
        """One sample, without the batch's axis."""
        batch = self.__getitems__([key])
        return {"image": batch["image"][0], "label": batch["label"][0], "id": batch["id"][0]}

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch: torch's loader asks for it in this way, and it needs no collating."""
        index = np.array([index for _, index in keys], np.int64)
        ids = torch.from_numpy(index)
        images = self._store.batch(self._rows[index])
        return {"image": self._transform(images, keys), "label": self._labels[ids], "id": ids}


def as_it_is(batch: Any) -> Any:
    """Collate function for batches that are ready."""
    return batch

"""Images with their masks: where each pixel of an image lies in the network's view, and data sets.

Batches have, beside what those of images have, mask: uint8 (N, S, S), or (N, L, S, S) where classes
may overlap, of volumes (N, D, S, S), as the network sees the image. Scores are of an image's own
grid, so those of evaluation have reference: each image's mask as it was read, (H, W), (L, H, W) or
(D, H, W); and place: float64 (N, axes, 2), factor and shift along each axis from the image's
coordinates to the view's, both from -1 to 1 between the outer edges. Of studies also spacing: in mm
along each axis, None where the file does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.data.samples import IGNORED, Integers, Labels, Samples, listed
from ttl_lightning.data.store import Store
from ttl_lightning.data.transforms import Key, TrainTransform
from ttl_lightning.data.views.dataset import (
    Batch,
    Batches,
    ImageDataset,
    WindowDataset,
    as_grey,
)
from ttl_lightning.data.views.evaluation import CropTransform, EvalTransform
from ttl_lightning.data.views.fit import place_of
from ttl_lightning.data.views.windows import Windows
from ttl_lightning.errors import DataError

MaskTransform = TrainTransform | EvalTransform | CropTransform


@dataclass(frozen=True, eq=False)
class MaskedImages(ImageDataset):
    """Images with their masks, a batch at a time.

    Attributes:
        masks: store of all the source's masks.
        samples: of this split.
        fit: how images became squares.
    """

    transform: MaskTransform
    masks: Store
    samples: Samples
    fit: str

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch."""
        batch: dict[str, Any] = super().__getitems__(keys)
        rows = [int(self.rows[index]) for _, index in keys]
        stored = torch.from_numpy(np.stack([self.masks.read(row) for row in rows]))
        seen = self.transform.masks(stored, keys)
        batch["mask"] = seen if self.samples.overlap else seen[:, 0]
        if not isinstance(self.transform, TrainTransform):
            read = [_reading(self.samples, row).pixels for row in rows]
            batch["reference"] = read if self.samples.overlap else [mask[0] for mask in read]
            places = [
                _place(mask.shape, stored.shape[-1], self.transform, self.fit) for mask in read
            ]
            batch["place"] = torch.from_numpy(np.stack(places))
        return batch


@dataclass(frozen=True, eq=False)
class MaskedWindows(WindowDataset):
    """Windows of studies with their masks, as training draws them.

    Attributes:
        studies: these, which evaluation sees whole.
    """

    transform: MaskTransform
    studies: MaskedStudies

    def plain(self, transform: Any) -> MaskedStudies:  # type: ignore[override]  # whole ones
        """The studies, whole."""
        return replace(self.studies, transform=transform)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A whole batch."""
        batch = super().__getitems__(keys)
        masks, length, places = self.studies.masks, self.windows.length, self._places(keys)
        size = masks.facts(int(self.rows[0])).shape[-1]
        found = np.zeros((len(keys), 1, length, size, size), np.uint8)
        for mask, study, start in zip(found, *places, strict=True):
            part = slice(int(start), int(start) + length)
            voxels = masks.read(int(self.rows[study]), part)
            mask[0, : len(voxels)] = voxels
        batch["mask"] = self.transform.masks(torch.from_numpy(found), keys)[:, 0]
        return batch


@dataclass(frozen=True, eq=False)
class MaskedStudies(Batches):
    """Whole studies with their masks, one a batch, as evaluation sees them.

    Attributes:
        store: of all the source's studies.
        masks: of their masks.
        rows: of this split's studies in both.
        samples: the split's.
        windows: of the split's studies.
        value_range: as of `WindowDataset`.
        transform: for a batch of studies with their keys.
        fit: how slices became squares.
    """

    alone = True

    store: Store
    masks: Store
    rows: Integers
    samples: Samples
    windows: Windows
    value_range: tuple[float, float] | None
    transform: MaskTransform
    fit: str

    @property
    def labels(self) -> Labels:
        """Of the studies."""
        return self.samples.labels

    def plain(self, transform: Any) -> MaskedStudies:
        """The same studies, read in another way."""
        return replace(self, transform=transform)

    def names(self, ids: Sequence[str]) -> list[str]:
        """Those of the studies."""
        return list(ids)

    def __len__(self) -> int:
        """Number of studies in the split."""
        return len(self.rows)

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        """A batch of one."""
        ((_, index),) = keys
        row = int(self.rows[index])
        read = _reading(self.samples, row)
        slices = self.store.facts(row).shape[0]
        length = max(slices, self.windows.length)
        seen = as_grey(self.store, row, slice(None), length, self.value_range)
        mask = np.zeros((1, 1, *seen.shape), np.uint8)
        mask[0, 0, :slices] = self.masks.read(row)
        place = _place(read.pixels.shape, seen.shape[-1], self.transform, self.fit)
        depth = np.array([[slices / length, slices / length - 1]])
        batch: dict[str, Any] = {
            "image": self.transform(torch.from_numpy(seen)[None, None], keys),
            "label": torch.from_numpy(self.samples.labels[[index]]),
            "id": torch.tensor([index]),
            "mask": self.transform.masks(torch.from_numpy(mask), keys)[:, 0],
            "reference": [read.pixels],
            "place": torch.from_numpy(np.concatenate([depth, place]))[None],
            "spacing": [None if np.isnan(read.spacing_mm).any() else read.spacing_mm],
        }
        return batch


def _reading(samples: Samples, row: int) -> Reading:
    assert samples.masks is not None  # as `masks_of` saw
    return samples.masks.read(row)


def _place(
    shape: Sequence[int], size: int, transform: MaskTransform, fit: str
) -> NDArray[np.float64]:
    """Factor and shift from an image's coordinates to the view's, along rows and columns."""
    assert not isinstance(transform, TrainTransform)
    factor, shift = transform.place(size)
    place = place_of((shape[-2], shape[-1]), size, fit)
    place *= factor
    place[:, 1] += shift
    return place


def masks_of(samples: Samples, name: str) -> Reader:
    """The reader of the samples' masks.

    Raises:
        DataError: if there is none.
    """
    if samples.masks is None:
        raise DataError(
            f"data={name} has no masks, which task=segmentation learns from: choose data=masks, "
            "data=lungs or data=phantom."
        )
    return samples.masks


def seen_masks(
    reader: Reader, rows: Integers, transform: EvalTransform | CropTransform
) -> NDArray[np.bool_]:
    """What masks mark, as evaluation sees it: (n, side, side), of studies (n, slices, side, side).

    Args:
        reader: of masks that are squares of one size, as those of drawn images are.
        rows: which of them.
        transform: how evaluation reads.
    """
    read = [reader.read(int(row)).pixels for row in rows]
    drawn = [mask[0] if len(mask) == 1 else mask for mask in read]
    whole = torch.from_numpy(np.stack(drawn).astype(np.float32))
    seen: NDArray[np.bool_] = transform.read(whole).numpy() > 0.5
    return seen


def check_masks(images: Store, masks: Store, rows: Integers, samples: Samples) -> Integers:
    """Demand masks of their images' sizes, and of every class training pixels, if any are trained.

    Args:
        images: as scanned.
        masks: as scanned.
        rows: of the samples that are used.
        samples: these.

    Returns:
        Of the training masks, as they are stored, each region's pixels and those known not to be of
        it, (regions, 2).

    Raises:
        DataError: naming the first that are not so.
    """
    wrong = []
    for row, name in zip(rows, samples.ids, strict=True):
        sides = [store.facts(int(row)).sides for store in (masks, images)]
        if sides[0] != sides[1]:
            sizes = (" × ".join(map(str, each)) for each in sides)
            wrong.append(f"{name} ({' pixels of an image of '.join(sizes)})")
    if wrong:
        raise DataError(f"masks must be as large as their images, and are not: {listed(wrong)}.")
    counts = np.zeros((len(samples.regions), 2), np.int64)
    trained = rows[samples.rows("train")]
    for row in trained:
        mask = masks.read(int(row))
        if samples.overlap:
            ours, known = (np.sum(kind, axis=(1, 2)) for kind in (mask == 1, mask != IGNORED))
        else:
            found = np.bincount(mask.ravel(), minlength=IGNORED + 1)
            ours, known = found[: len(counts)], found[:IGNORED].sum()
        counts += np.stack([ours, known - ours], axis=1)
    if not len(trained):
        return counts
    absent = [name for name, (there, _) in zip(samples.regions, counts, strict=True) if not there]
    if not samples.overlap and not counts[1:, 0].any():
        raise DataError(
            "no training mask marks anything: every pixel of all of them is background."
        )
    if absent:
        raise DataError(f"no training mask has a pixel of class {listed(absent)}.")
    return counts

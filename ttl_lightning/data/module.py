"""What every source shares, of images or of volumes: options, checks before training, loaders."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from ttl_lightning.data.checks import check_images, describe_leaks, find_leaks
from ttl_lightning.data.ranges import spread_notes
from ttl_lightning.data.readers.left_out import left_out_notes
from ttl_lightning.data.sampler import EpochSampler
from ttl_lightning.data.samples import SPLITS, Labels, Samples
from ttl_lightning.data.store import CACHES, ON_BAD_IMAGE, Scan
from ttl_lightning.data.transforms import Augment, Transform
from ttl_lightning.data.views.dataset import ImageDataset, WindowDataset, as_it_is, as_views
from ttl_lightning.data.views.evaluation import (
    EVAL_VIEW,
    EVAL_VIEWS,
    MOST_VIEWS,
    CropTransform,
    EvalTransform,
    SeveralViews,
    evaluation,
)
from ttl_lightning.data.views.fit import FIT, FITS, fit_notes
from ttl_lightning.errors import ConfigError, DataError, check_choice, check_number

ON_DUPLICATE = ("raise", "drop")


class SharedOptions(TypedDict, total=False):
    """Options of every source, of images or of volumes."""

    in_channels: int
    batch_size: int
    num_workers: int
    seed: int
    cache_dir: str | Path | None
    augment: Augment
    eval_view: str
    tta: int
    fit: str
    mean: Sequence[float] | None
    std: Sequence[float] | None
    on_bad_image: str
    max_bad: int


class ClassificationDataModule(LightningDataModule, ABC):
    """Base of all sources: a subclass says what samples there are, and builds their datasets.

    Not a dataclass, though it looks like one: Lightning's spawning strategies deep-copy those.

    Args:
        name: of the source, for results.
        cache: where decoded images are kept: "memory", "disk" or "none".
        on_duplicate: where an image is in two splits, "raise", or "drop" it from the earlier of
            train, val, test.
        in_channels: 1 (colour is averaged to grey) or 3 (grey is repeated).
        batch_size: samples a batch and process.
        num_workers: processes that load; 0 loads in the main process.
        seed: of splits, order and augmentation.
        cache_dir: folder for cache="disk"; by default the user's own cache folder.
        augment: how training images vary, and the margin with which images are kept.
        eval_view: how validation and test images are read: "train_scale", "whole" or
            "center_crop", as `views.evaluation` says.
        tta: views of each test sample, whose probabilities are averaged; 1 is the evaluation's
            view alone. Validation has one view.
        fit: how images become squares: "squash", "pad" or "crop", as `fit.fit_square` says.
        mean: subtracted from pixels in [0, 1], one a channel; 0.5 by default.
        std: divided by, one a channel; 0.5 by default.
        on_bad_image: "raise", or "skip" images (or studies) that cannot be read.
        max_bad: most that may be skipped.

    Attributes:
        bad_images: the skipped ones, as {"id", "reason"}.
        notes: what a run must say once.
        counted: what one entry of the source is called, in notes.
        places: options that say where the data lie; for a run's identity their `content` counts.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    counted = "images"
    places: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        *,
        name: str,
        cache: str,
        on_duplicate: str,
        in_channels: int = 3,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
        cache_dir: str | Path | None = None,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        eval_view: str = EVAL_VIEW,
        tta: int = 1,
        fit: str = FIT,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        on_bad_image: str = "raise",
        max_bad: int = 10,
    ) -> None:
        super().__init__()
        if in_channels not in (1, 3):
            raise ConfigError(f"data.in_channels must be 1 or 3, got {in_channels!r}.")
        check_number("data.batch_size", batch_size, 1, 65536, integer=True)
        check_number("data.num_workers", num_workers, 0, 1024, integer=True)
        check_number("data.seed", seed, 0, 2**32 - 1, integer=True)
        check_choice("data.cache", cache, CACHES)
        check_choice("data.on_bad_image", on_bad_image, ON_BAD_IMAGE)
        check_number("data.max_bad", max_bad, 0, integer=True)
        check_choice("data.on_duplicate", on_duplicate, ON_DUPLICATE)
        check_choice("data.eval_view", eval_view, EVAL_VIEWS)
        check_choice("data.fit", fit, FITS)
        check_number("data.tta", tta, 1, MOST_VIEWS, integer=True)
        self.name, self.in_channels = name, in_channels
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.cache, self.cache_dir, self.augment = cache, cache_dir, augment
        self.mean = _per_channel("mean", mean, in_channels, -1e6)
        self.std = _per_channel("std", std, in_channels, 1e-6)
        self.eval_view, self.tta, self.fit = eval_view, tta, fit
        self.on_bad_image, self.max_bad, self.on_duplicate = on_bad_image, max_bad, on_duplicate
        self.bad_images: list[dict[str, str]] = []
        self.notes: list[str] = []
        self._samples: Samples | None = None
        self._datasets: dict[str, ImageDataset | WindowDataset] = {}

    @classmethod
    def content(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """What the data are, wherever they lie: hashes by name, found without decoding anything.

        Args:
            options: the source's, checked. Those that are not `places` count as they stand, so a
                source that draws its data from them needs no hash.

        Raises:
            DataError: if the data's place cannot be read.
        """
        del options
        return {}

    @abstractmethod
    def _prepare(self) -> Samples:
        """Find the samples, check them, and put the three splits into `self._datasets`."""

    @property
    @abstractmethod
    def input_side(self) -> int:
        """Height and width of the network's input."""

    @property
    def evaluation(self) -> EvalTransform | CropTransform:
        """How validation and test samples are read."""
        return evaluation(self.eval_view, self.augment, self.input_side, self.mean, self.std)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class number; the positive class of a binary task is the second."""
        return self._ready().class_names

    @property
    def task(self) -> str:
        """One of "binary", "multiclass" and "multilabel"."""
        return self._ready().task

    @property
    def num_classes(self) -> int:
        """Number of classes; two for a binary task."""
        return len(self.class_names)

    def labels(self, split: str) -> Labels:
        """Labels of a split: (n,) int64, or (n, L) float32 for multilabel."""
        samples = self._ready()
        return samples.labels[samples.rows(split)]

    def sample_ids(self, split: str) -> list[str]:
        """Names of a split's samples; a batch's "id" is the position in this list."""
        samples = self._ready()
        return [samples.ids[row] for row in samples.rows(split)]

    def note_positive(self, class_names: Sequence[str], *, chosen: bool) -> None:
        """Say which class counts as positive where sorting the names, not the user, decided it."""
        if len(class_names) == 2 and not chosen:
            self.notes.append(
                f"The positive class is {class_names[1]!r}; data.classes sets the order."
            )

    def setup(self, stage: str | None = None) -> None:
        """Find the images, check them, decode each once and build the three datasets.

        Raises:
            DataError: if a check fails or an image cannot be read.
        """
        if self._samples is None:
            self._samples = self._prepare()
            area = self.evaluation.area(self.augment.stored_size(self.input_side))
            if area < 1:
                self.notes.append(
                    f"Evaluation reads the middle {area:.1%} of each image's area "
                    f"(data.eval_view={self.eval_view})."
                )
            if self.tta > 1:
                self.notes.append(f"Test predictions are means of {self.tta} views (data.tta).")

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled and augmented."""
        self._ready()
        return self._loader(self._datasets["train"], training=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order, each sample once."""
        return self.plain_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """In order, each sample once; with `tta` above 1 its views, as "views" in the batch."""
        if self.tta == 1:
            return self.plain_dataloader("test")
        views = SeveralViews(self.evaluation, self.augment, self.tta)
        return self.plain_dataloader("test", views)

    def plain_dataloader(self, split: str, transform: Transform | None = None) -> DataLoader[Any]:
        """As evaluation sees them, the training samples too: in order, each once, not augmented.

        Args:
            split: "train", "val" or "test".
            transform: reads them in another way than evaluation does; batches of `SeveralViews`
                hold so many fewer samples.

        Raises:
            UnknownNameError: if there is no such split.
        """
        check_choice("split", split, SPLITS)
        self._ready()
        plain = self._datasets[split].plain(transform or self.evaluation)
        views = transform.count if isinstance(transform, SeveralViews) else 1
        return self._loader(plain, training=False, views=views)

    def _loader(
        self, dataset: ImageDataset | WindowDataset, *, training: bool, views: int = 1
    ) -> DataLoader[Any]:
        size = max(1, self.batch_size // views)
        return DataLoader(
            dataset,
            batch_size=size,
            sampler=EpochSampler(dataset, batch_size=size, training=training, seed=self.seed),
            num_workers=self.num_workers,
            collate_fn=as_it_is if views == 1 else as_views,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            # Without its own generator each epoch's loader would move torch's global one.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _usable(self, samples: Samples, scan: Scan) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Rows without bad images and, if they are to be dropped, without leaking duplicates."""
        self.bad_images += [{"id": samples.ids[r], "reason": why} for r, why in scan.bad.items()]
        if scan.bad:
            self.notes.append(f"{len(scan.bad)} {self.counted} that cannot be read were skipped.")
        keep = np.ones(len(samples.ids), np.bool_)
        keep[list(scan.bad)] = False
        rows = np.flatnonzero(keep)
        kept, hashes = samples.take(rows), [scan.hashes[row] for row in rows]
        stored = self.augment.stored_size(self.input_side)
        self.notes += fit_notes(scan.sides[rows], stored, self.fit, self.counted)
        if scan.spreads is not None:
            self.notes += spread_notes(scan.spreads[rows], self.counted)
        if scan.left_out is not None:
            self.notes += left_out_notes([scan.left_out[row] for row in rows], kept.ids)
        if self.on_duplicate == "raise":
            check_images(hashes, kept)
            return rows
        leaks = find_leaks(hashes, kept.splits)
        if leaks:
            self.notes.append(
                f"{len(leaks)} {self.counted} were left out of the split named first, because they "
                f"are in two: {describe_leaks(leaks, kept)}."
            )
        return np.delete(rows, list(leaks))

    def _ready(self) -> Samples:
        if self._samples is None:
            raise DataError(f"data={self.name}: call setup() before asking for samples.")
        return self._samples

    def _cache_folder(self, kind: str) -> Path:
        if self.cache_dir is not None:
            return Path(self.cache_dir).expanduser()
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return Path(home) / "ttl_lightning" / kind


def _per_channel(
    key: str, value: Sequence[float] | None, channels: int, low: float
) -> tuple[float, ...]:
    numbers = (0.5,) * channels if value is None else tuple(value)
    if len(numbers) != channels:
        raise ConfigError(
            f"data.{key} must have data.in_channels={channels} numbers, got {value!r}."
        )
    for number in numbers:
        check_number(f"data.{key}", number, low, 1e6)
    return tuple(float(number) for number in numbers)

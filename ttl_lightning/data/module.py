"""The data of a run: a source's samples, checked, decoded once and loaded as a view shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from ttl_lightning.data.options import ImageView, Loading, per_channel
from ttl_lightning.data.preparing import Prepared, Split, prepare
from ttl_lightning.data.readers.masks import mask_files
from ttl_lightning.data.sampler import EpochSampler
from ttl_lightning.data.samples import Integers, Labels, Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.transforms import Augment, TrainTransform, Transform
from ttl_lightning.data.views.dataset import as_it_is, as_views
from ttl_lightning.data.views.evaluation import (
    CropTransform,
    EvalTransform,
    SeveralViews,
    evaluation,
)
from ttl_lightning.data.views.masks import masks_of, seen_masks
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import DataError, check_choice


class DataModule(LightningDataModule):
    """Samples of one source as three splits, of images or of windows of studies.

    Training samples of studies are windows: `labels("train")` and `sample_ids("train")` are those
    of the grid. Of validation and test, both are the studies', and each window says of which it is.

    Not a dataclass, though it looks like one: Lightning's spawning strategies deep-copy those.

    Args:
        source: says what samples there are; its seed is also that of order and augmentation.
        view: what a network sees of them.
        loading: how they are loaded and kept.
        augment: how training images vary, and the margin with which images are kept.
        mean: subtracted from pixels in [0, 1], one a channel; 0.5 by default.
        std: divided by, one a channel; 0.5 by default.

    Attributes:
        bad_images: the skipped ones, as {"id", "reason"}.
        notes: what a run must say once.
        batch_size: samples a batch and process; it may be set until loaders are made.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    def __init__(
        self,
        source: Source,
        view: ImageView | WindowView,
        loading: Loading,
        *,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.source, self.view, self.loading, self.augment = source, view, loading, augment
        self.mean = per_channel("mean", mean, view.in_channels, -1e6)
        self.std = per_channel("std", std, view.in_channels, 1e-6)
        self.batch_size = loading.batch_size
        self.bad_images: list[dict[str, str]] = []
        self.notes: list[str] = []
        self._prepared: Prepared | None = None

    @property
    def evaluation(self) -> EvalTransform | CropTransform:
        """How validation and test samples are read."""
        view = self.view
        return evaluation(view.eval_view, self.augment, view.side, self.mean, self.std)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class number; of two, the second is the positive one."""
        return self._ready().class_names

    @property
    def exclusive(self) -> bool:
        """Whether a sample has one class, and not any number of them."""
        return self._ready().exclusive

    @property
    def measured(self) -> bool:
        """Whether labels are numbers, and not classes."""
        return self._ready().measured

    @property
    def regions(self) -> tuple[str, ...]:
        """Names of what masks tell apart; unless they overlap, the first is the background."""
        return self._ready().regions

    @property
    def overlap(self) -> bool:
        """Whether a mask's pixel may be of several regions."""
        return self._ready().overlap

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def labels(self, split: str) -> Labels:
        """Labels of a split's samples: (n,) int64, or (n, L) float32 unless they are exclusive."""
        return self._split(split).labels

    def sample_ids(self, split: str) -> list[str]:
        """Names of a split's samples.

        A batch's "id" is the position in this list, of studies outside of training "study".
        """
        samples = self._ready()
        return self._split(split).names([samples.ids[row] for row in samples.rows(split)])

    def patients(self, split: str) -> list[str] | None:
        """Whom each of a split's images or studies shows; None where the source does not say."""
        patients, rows = self._ready().patients, self._ready().rows(split)
        return None if patients is None else [patients[row] for row in rows]

    def pixel_counts(self) -> Integers:
        """Training pixels of each region and known ones of none of it, (regions, 2)."""
        return self._all().pixels

    def masks(self, split: str) -> NDArray[np.bool_]:
        """Where what is looked for lies, as evaluation sees it.

        Returns:
            (n, side, side) of images, (n, slices, side, side) of studies that have as many slices.

        Raises:
            DataError: if the source does not know it.
        """
        samples = self._ready()
        rows = self._all().rows[samples.rows(split)]
        return seen_masks(masks_of(samples, self.source.name), rows, self.evaluation)

    def mask_files(
        self, split: str, number: int, mask: NDArray[np.bool_]
    ) -> list[tuple[str, bytes]]:
        """A sample's mask, (regions, …) of its own grid, as `readers.masks.mask_files` makes it."""
        samples = self._ready()
        place = samples.rows(split)[number]
        reader = masks_of(samples, self.source.name)
        name = samples.ids[place]
        row = int(self._all().rows[place])
        return mask_files(reader, row, name, mask, overlap=samples.overlap)

    def prepare_data(self) -> None:
        """Get what is not there yet, such as a download.

        Raises:
            DataError: if that fails.
        """
        self.source.prepare()

    def setup(self, stage: str | None = None) -> None:
        """Find the samples, check them, decode each once and build the three data sets.

        Raises:
            DataError: if a check fails or a sample cannot be read.
        """
        if self._prepared is not None:
            return
        view, augment, evaluation = self.view, self.augment, self.evaluation
        train = TrainTransform(
            augment, view.side, self.mean, self.std, self.source.seed, patch=view.patch
        )
        splits = self.source.used_splits
        transforms = {split: train if split == "train" else evaluation for split in splits}
        size = augment.stored_size(view.side)
        self._prepared = prepare(self.source, view, self.loading, size, transforms)
        self.bad_images = self._prepared.bad
        self.notes += self._prepared.notes
        area = evaluation.area(size)
        if area < 1:
            self.notes.append(
                f"Evaluation reads the middle {area:.1%} of each image's area "
                f"(data.eval_view={view.eval_view})."
            )
        if view.tta > 1:
            self.notes.append(f"Test predictions are means of {view.tta} views (data.tta).")

    def train_dataloader(self) -> DataLoader[Any]:
        """Shuffled and augmented."""
        return self._loader(self._split("train"), training=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """In order, each sample once."""
        return self.plain_dataloader("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """In order, each sample once; with `tta` above 1 its views, as "views" in the batch."""
        if self.view.tta == 1:
            return self.plain_dataloader("test")
        views = SeveralViews(self.evaluation, self.augment, self.view.tta)
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
        plain: Split = self._split(split).plain(transform or self.evaluation)
        views = transform.count if isinstance(transform, SeveralViews) else 1
        return self._loader(plain, training=False, views=views)

    def _loader(self, dataset: Split, *, training: bool, views: int = 1) -> DataLoader[Any]:
        size = 1 if dataset.alone else max(1, self.batch_size // views)
        seed, given = self.source.seed, self.loading.num_workers
        workers = 0 if given == "auto" else int(given)
        return DataLoader(
            dataset,
            batch_size=size,
            sampler=EpochSampler(dataset, batch_size=size, training=training, seed=seed),
            num_workers=workers,
            collate_fn=as_it_is if views == 1 else as_views,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            # Without its own generator each epoch's loader would move torch's global one.
            generator=torch.Generator().manual_seed(seed),
        )

    def _split(self, split: str) -> Split:
        check_choice("split", split, self.source.used_splits)
        return self._all().datasets[split]

    def _ready(self) -> Samples:
        return self._all().samples

    def _all(self) -> Prepared:
        if self._prepared is None:
            raise DataError(f"data={self.source.name}: call setup() before asking for samples.")
        return self._prepared

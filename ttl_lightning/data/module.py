"""The data of a run: a source's samples, checked, decoded once and loaded as a view shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from ttl_lightning.data.checks import (
    check_images,
    describe_leaks,
    find_leaks,
    verify_labels,
    verify_samples,
)
from ttl_lightning.data.options import ImageView, Loading, per_channel
from ttl_lightning.data.readers.masks import mask_files
from ttl_lightning.data.sampler import EpochSampler
from ttl_lightning.data.samples import SPLITS, Integers, Labels, Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.data.store import Facts, Store
from ttl_lightning.data.transforms import Augment, TrainTransform, Transform
from ttl_lightning.data.views.dataset import ImageDataset, WindowDataset, as_it_is, as_views
from ttl_lightning.data.views.evaluation import (
    CropTransform,
    EvalTransform,
    SeveralViews,
    evaluation,
)
from ttl_lightning.data.views.fit import fit_notes
from ttl_lightning.data.views.images import Images
from ttl_lightning.data.views.masks import MaskedStudies, check_masks, masks_of, seen_masks
from ttl_lightning.data.views.studies import Studies
from ttl_lightning.data.window_options import WindowView
from ttl_lightning.errors import DataError, check_choice

Split = ImageDataset | WindowDataset | MaskedStudies


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
        self._samples: Samples | None = None
        self._rows: Integers = np.empty(0, np.int64)
        self._pixels: Integers = np.empty((0, 2), np.int64)
        self._datasets: dict[str, Split] = {}

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
        self._ready()
        return self._pixels

    def masks(self, split: str) -> NDArray[np.bool_]:
        """Where what is looked for lies, as evaluation sees it.

        Returns:
            (n, side, side) of images, (n, slices, side, side) of studies that have as many slices.

        Raises:
            DataError: if the source does not know it.
        """
        samples = self._ready()
        rows = self._rows[samples.rows(split)]
        return seen_masks(masks_of(samples, self.source.name), rows, self.evaluation)

    def mask_files(
        self, split: str, number: int, mask: NDArray[np.bool_]
    ) -> list[tuple[str, bytes]]:
        """A sample's mask, (regions, …) of its own grid, as `readers.masks.mask_files` makes it."""
        samples = self._ready()
        place = samples.rows(split)[number]
        reader = masks_of(samples, self.source.name)
        name = samples.ids[place]
        return mask_files(reader, int(self._rows[place]), name, mask, overlap=samples.overlap)

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
        if self._samples is None:
            self._samples = self._prepare()
            area = self.evaluation.area(self.augment.stored_size(self.view.side))
            if area < 1:
                self.notes.append(
                    f"Evaluation reads the middle {area:.1%} of each image's area "
                    f"(data.eval_view={self.view.eval_view})."
                )
            if self.view.tta > 1:
                self.notes.append(
                    f"Test predictions are means of {self.view.tta} views (data.tta)."
                )

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
        seed = self.source.seed
        return DataLoader(
            dataset,
            batch_size=size,
            sampler=EpochSampler(dataset, batch_size=size, training=training, seed=seed),
            num_workers=self.loading.num_workers,
            collate_fn=as_it_is if views == 1 else as_views,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.loading.num_workers > 0,
            # Without its own generator each epoch's loader would move torch's global one.
            generator=torch.Generator().manual_seed(seed),
        )

    def _prepare(self) -> Samples:
        """Find the samples, check them, and put the three splits into `self._datasets`."""
        view, size = self.view, self.augment.stored_size(self.view.side)
        shown = Studies(view) if isinstance(view, WindowView) else Images(view)
        samples = self.source.load(size)
        self.notes += samples.notes
        verify_samples(samples)
        if not view.masks:
            verify_labels(samples)
        assert samples.reader is not None  # as load() promises
        folder = self.loading.folder(shown.folder)
        store = Store(samples.reader, shown.form(size), self.loading.cache, folder)
        bad = store.scan(self.loading.on_bad_image, self.loading.max_bad, view.counted)
        masks = None
        if view.masks:
            reader = masks_of(samples, self.source.name)
            masks = Store(reader, shown.mask_form(size), self.loading.cache, folder)
            bad |= masks.scan(self.loading.on_bad_image, self.loading.max_bad - len(bad), "masks")
        if bad:
            self.bad_images = [{"id": samples.ids[row], "reason": why} for row, why in bad.items()]
            self.notes.append(f"{len(bad)} {view.counted} that cannot be read were skipped.")
        rows = np.setdiff1d(np.arange(len(samples.ids)), list(bad))
        rows = self._usable(
            rows, samples.take(rows), [store.facts(int(row)) for row in rows], shown
        )
        used = samples.take(rows)
        if isinstance(view, WindowView) and self.loading.cache == "disk":
            self.notes.append(
                f"{len(samples.ids)} studies take {store.megabytes():.1f} MB in {folder}."
            )
        verify_samples(used)
        if masks is None:
            verify_labels(used)
        else:
            self._pixels = check_masks(store, masks, rows, used)
        train = TrainTransform(self.augment, view.side, self.mean, self.std, self.source.seed)
        for split in SPLITS:
            chosen = used.rows(split)
            transform = train if split == "train" else self.evaluation
            part = used.take(chosen)
            self._datasets[split] = (
                shown.dataset(store, rows[chosen], part, transform)
                if masks is None
                else shown.masked(store, masks, rows[chosen], part, transform)
            )
        self._rows = rows
        return used

    def _usable(
        self, rows: Integers, samples: Samples, facts: Sequence[Facts], shown: Images | Studies
    ) -> Integers:
        """Rows of samples that can be read, without leaking duplicates, if these are dropped."""
        counted, hashes = self.view.counted, [one.hash for one in facts]
        sides = np.array([one.sides for one in facts], np.int64).reshape(-1, 2)
        stored = self.augment.stored_size(self.view.side)
        self.notes += fit_notes(sides, stored, self.view.fit, counted)
        self.notes += shown.notes(facts, samples.ids)
        if self.loading.on_duplicate == "raise":
            check_images(hashes, samples)
            return rows
        leaks = find_leaks(hashes, samples.splits)
        if leaks:
            self.notes.append(
                f"{len(leaks)} {counted} were left out of the split named first, because they "
                f"are in two: {describe_leaks(leaks, samples)}."
            )
        return np.delete(rows, list(leaks))

    def _split(self, split: str) -> Split:
        self._ready()
        check_choice("split", split, SPLITS)
        return self._datasets[split]

    def _ready(self) -> Samples:
        if self._samples is None:
            raise DataError(f"data={self.source.name}: call setup() before asking for samples.")
        return self._samples

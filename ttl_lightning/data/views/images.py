"""Images as a run sees them, whole: in which form they are kept, what is said, their data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ttl_lightning.data.options import ImageView
from ttl_lightning.data.ranges import spread_notes
from ttl_lightning.data.readers.left_out import left_out_notes
from ttl_lightning.data.samples import SPLITS, Integers, Samples
from ttl_lightning.data.store import Facts, Store
from ttl_lightning.data.transforms import TrainTransform, Transform
from ttl_lightning.data.views.dataset import ImageDataset
from ttl_lightning.data.views.fit import ImageForm


@dataclass(frozen=True)
class Images:
    """Images as a view shows them."""

    folder: ClassVar[str] = "images"
    """Of the disk cache, in the user's own."""

    view: ImageView

    def form(self, size: int) -> ImageForm:
        """How they are kept, of a height and width."""
        return ImageForm(size, self.view.in_channels, self.view.fit)

    def notes(self, facts: Sequence[Facts], ids: Sequence[str]) -> list[str]:
        """What a run says of the images that can be read: of contrast, and of what is left out."""
        notes = spread_notes(np.array([one.spread for one in facts]), self.view.counted)
        return notes + left_out_notes([one.left_out for one in facts], ids)

    def datasets(
        self,
        store: Store,
        rows: Integers,
        samples: Samples,
        train: TrainTransform,
        plain: Transform,
    ) -> dict[str, ImageDataset]:
        """The three splits.

        Args:
            store: of all the source's images.
            rows: of the samples in the store.
            samples: those that are used.
            train: how training reads a batch.
            plain: how evaluation does.
        """
        found = {}
        for split in SPLITS:
            chosen = samples.rows(split)
            transform = train if split == "train" else plain
            found[split] = ImageDataset(store, rows[chosen], samples.labels[chosen], transform)
        return found

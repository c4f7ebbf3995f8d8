"""Images as a run sees them, whole: in which form they are kept, what is said, their data sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ttl_lightning.data.options import ImageView
from ttl_lightning.data.ranges import spread_notes
from ttl_lightning.data.readers.reading import left_out_notes
from ttl_lightning.data.samples import Integers, Samples
from ttl_lightning.data.store import Facts, Store
from ttl_lightning.data.transforms import Transform
from ttl_lightning.data.views.dataset import ImageDataset
from ttl_lightning.data.views.fit import ImageForm, MaskForm
from ttl_lightning.data.views.masks import MaskedImages, MaskTransform


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

    def dataset(
        self, store: Store, rows: Integers, samples: Samples, transform: Transform
    ) -> ImageDataset:
        """One split.

        Args:
            store: of all the source's images.
            rows: of the split's samples in the store.
            samples: the split's.
            transform: how a batch is read.
        """
        return ImageDataset(store, rows, samples.labels, transform)

    def mask_form(self, size: int) -> MaskForm:
        """How their masks are kept."""
        return MaskForm(size, self.view.fit)

    def masked(
        self,
        store: Store,
        masks: Store,
        rows: Integers,
        samples: Samples,
        transform: MaskTransform,
    ) -> MaskedImages:
        """One split with its masks, of which there is a store too; else as `dataset`."""
        return MaskedImages(store, rows, samples.labels, transform, masks, samples, self.view.fit)

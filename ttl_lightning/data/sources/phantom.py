"""data=phantom: chest-like images that the package draws itself."""

from __future__ import annotations

from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from ttl_lightning.data.image_module import CommonOptions, ImageDataModule
from ttl_lightning.data.phantoms.images import LEVELS, generate
from ttl_lightning.data.samples import SPLITS, Samples
from ttl_lightning.data.store import ArrayImages
from ttl_lightning.errors import check_choice, check_number

MOST = 10_000_000
"""Images a split: each split has this stretch of the seed's series to itself."""


class PhantomDataModule(ImageDataModule):
    """Drawn images of one seed; the same image never comes twice.

    Args:
        train_size: number of training images.
        val_size: number of validation images.
        test_size: number of test images.
        level: what marks the positives: fine "texture", "blob" (nodules), or heart "shape".
        difficulty: 0 (plain to see) to 1 (barely there).
        balance: fraction of positives.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    def __init__(
        self,
        *,
        name: str = "phantom",
        on_duplicate: str = "raise",
        train_size: int = 1200,
        val_size: int = 300,
        test_size: int = 300,
        level: str = "texture",
        difficulty: float = 0.5,
        balance: float = 0.5,
        **common: Unpack[CommonOptions],
    ) -> None:
        super().__init__(name=name, on_duplicate=on_duplicate, **common)
        self._sizes = {"train": train_size, "val": val_size, "test": test_size}
        for split, size in self._sizes.items():
            check_number(f"data.{split}_size", size, 1, MOST, integer=True)
        check_choice("data.level", level, LEVELS)
        check_number("data.difficulty", difficulty, 0, 1)
        check_number("data.balance", balance, 0, 1)
        self.level, self.difficulty, self.balance = level, difficulty, balance
        self._masks: NDArray[np.bool_] | None = None

    def load(self) -> tuple[Samples, ArrayImages]:
        """Draw every split at the size at which images are kept, so none is resized."""
        size = self.augment.stored_size(self.image_size)
        drawn = {
            split: generate(
                number,
                size,
                self.level,
                self.difficulty,
                self.seed,
                balance=self.balance,
                first=SPLITS.index(split) * MOST,
            )
            for split, number in self._sizes.items()
        }
        self._masks = np.concatenate([part.lung_masks for part in drawn.values()])
        samples = Samples(
            ids=tuple(f"{split}/{i}" for split, n in self._sizes.items() for i in range(n)),
            labels=np.concatenate([part.labels for part in drawn.values()]),
            splits=np.repeat(list(drawn), [len(part.labels) for part in drawn.values()]),
            class_names=("normal", LEVELS[self.level]),
            task="binary",
        )
        return samples, ArrayImages(np.concatenate([part.images for part in drawn.values()]))

    def lung_masks(self, split: str) -> NDArray[np.bool_]:
        """Lung fields (n, image_size, image_size) of a split's images as evaluation sees them."""
        rows = self._ready().rows(split)
        assert self._masks is not None  # drawn by load()
        masks = torch.from_numpy(self._masks[rows].astype(np.float32))
        seen: NDArray[np.bool_] = self.evaluation.read(masks).numpy() > 0.5
        return seen

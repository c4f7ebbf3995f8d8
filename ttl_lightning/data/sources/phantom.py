"""data=phantom: chest-like images that the package draws itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.phantoms.images import LEVELS, generate
from ttl_lightning.data.readers.base import ArrayImages
from ttl_lightning.data.samples import SPLITS, Samples
from ttl_lightning.data.sources.base import Source
from ttl_lightning.errors import check_choice, check_number

MOST = 10_000_000
"""Samples a split: each split has this stretch of the seed's series to itself."""


@dataclass(frozen=True, kw_only=True)
class DrawnSource(Source):
    """What the sources share whose samples are drawn; the same one never comes twice.

    Attributes:
        train_size: number of training samples.
        val_size: number of validation samples.
        test_size: number of test samples.
        difficulty: 0 (plain to see) to 1 (barely there).
        balance: fraction of positives.

    Raises:
        ConfigError: naming the key that is out of range.
    """

    train_size: int
    val_size: int
    test_size: int
    difficulty: float
    balance: float = 0.5

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        for split, size in self.sizes.items():
            check_number(f"data.{split}_size", size, 1, MOST, integer=True)
        check_number("data.difficulty", self.difficulty, 0, 1)
        check_number("data.balance", self.balance, 0, 1)

    @property
    def sizes(self) -> Mapping[str, int]:
        """Number of samples by split."""
        return {"train": self.train_size, "val": self.val_size, "test": self.test_size}

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of all samples."""
        return tuple(f"{split}/{i}" for split, size in self.sizes.items() for i in range(size))

    @property
    def splits(self) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
        """Of all samples."""
        return np.repeat(list(self.sizes), list(self.sizes.values()))


@dataclass(frozen=True, kw_only=True)
class PhantomSource(DrawnSource):
    """Drawn images of one seed, whose masks are lung fields.

    Attributes:
        level: what marks the positives: fine "texture", "blob" (nodules), or heart "shape".

    Raises:
        ConfigError: naming the key that is out of range.
    """

    name: str = "phantom"
    train_size: int = 1200
    val_size: int = 300
    test_size: int = 300
    difficulty: float = 0.5
    level: str = "texture"

    def __post_init__(self) -> None:
        """Check what was given."""
        super().__post_init__()
        check_choice("data.level", self.level, LEVELS)

    def load(self, side: int) -> Samples:
        """Draw every split at the size at which images are kept, so none is resized."""
        drawn = [
            generate(
                number,
                side,
                self.level,
                self.difficulty,
                self.seed,
                balance=self.balance,
                first=SPLITS.index(split) * MOST,
            )
            for split, number in self.sizes.items()
        ]
        masks = np.concatenate([part.lung_masks for part in drawn])
        return Samples(
            ids=self.ids,
            labels=np.concatenate([part.labels for part in drawn]),
            splits=self.splits,
            class_names=("normal", LEVELS[self.level]),
            reader=ArrayImages(np.concatenate([part.images for part in drawn])),
            masks=partial(_mask, masks),
        )


def _mask(masks: NDArray[np.bool_], row: int) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = masks[row]
    return mask

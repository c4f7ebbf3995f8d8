"""What a source says of its samples before it decodes any, and what decodes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.errors import DataError, check_choice

if TYPE_CHECKING:
    from ttl_lightning.data.readers.base import Reader

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Names that data sets give their splits, in lower case, with ours."""

Labels = NDArray[Any]
"""(n,) int64, or (n, L) float32 of zeros and ones where several may hold, or of numbers; NaN: not
labelled."""
Integers = NDArray[np.int64]
IGNORED = 255
"""Value of a mask's pixels of which nothing is known, and which count nowhere."""


@dataclass(frozen=True)
class Samples:
    """One entry an image, in the source's order.

    Attributes:
        ids: unique names.
        labels: class numbers, or columns of zeros and ones.
        splits: (n,) of "train", "val", "test".
        class_names: of two, the second is the positive one.
        patients: whom each image shows, or None where the source does not say.
        reader: of the pixels, by the source's rows; None where a table alone is known.
        notes: what a run must say of how the samples were found.
        abnormal: of a source's row and its number of slices, which of them show what is looked for,
            ascending; None where the source does not know. Asked once all studies have been read.
        masks: reader of where what is looked for lies, by the same rows and of the same height and
            width: (1, H, W) numbers of `regions`, or (regions, H, W) of 0 and 1 where they may
            overlap; of studies (S, H, W). `IGNORED` where it is not known.
        regions: names of what masks tell apart; where none overlap, the first is the background.
        overlap: whether a pixel may be of several.
        measured: whether labels are numbers (n, L) of what `class_names` names, NaN where unknown.
    """

    ids: tuple[str, ...]
    labels: Labels
    splits: NDArray[np.str_]
    class_names: tuple[str, ...]
    patients: tuple[str, ...] | None = None
    reader: Reader | None = None
    notes: tuple[str, ...] = ()
    abnormal: Callable[[int, int], Integers] | None = None
    masks: Reader | None = None
    regions: tuple[str, ...] = ()
    overlap: bool = False
    measured: bool = False

    @property
    def exclusive(self) -> bool:
        """Whether a sample has one class, and not any number of them."""
        return self.labels.ndim == 1

    def rows(self, split: str) -> NDArray[np.int64]:
        """Positions of a split's images.

        Raises:
            UnknownNameError: if there is no such split.
        """
        check_choice("split", split, SPLITS)
        return np.flatnonzero(self.splits == split).astype(np.int64)

    def take(self, rows: NDArray[np.int64]) -> Samples:
        """These rows only; what reads them goes on counting as the source does."""
        return replace(
            self,
            ids=tuple(self.ids[row] for row in rows),
            labels=self.labels[rows],
            splits=self.splits[rows],
            patients=None if self.patients is None else tuple(self.patients[r] for r in rows),
        )


def check_classes(names: Sequence[str]) -> None:
    """Demand two or more class names, each once.

    Raises:
        DataError: naming the classes.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"at least two classes, each once, are needed; got {listed(names)}.")


def positive_note(class_names: Sequence[str], *, chosen: bool) -> tuple[str, ...]:
    """Which class counts as positive, where sorting the names, not the user, decided it."""
    if len(class_names) != 2 or chosen:
        return ()
    return (f"The positive class is {class_names[1]!r}; data.classes sets the order.",)


def listed(names: Sequence[str], most: int = 5) -> str:
    """The first names, quoted, and how many there are in all."""
    shown = ", ".join(repr(name) for name in names[:most]) or "none"
    return shown + (f", … ({len(names)} in all)" if len(names) > most else "")

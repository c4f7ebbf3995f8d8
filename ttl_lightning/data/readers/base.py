"""What every reader of pixels is, and the readers of what lies in memory. No torch."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.content import pixel_hash
from ttl_lightning.data.readers.reading import Reading


class Reader(Protocol):
    """Where the pixels of images or studies come from, by row."""

    @property
    def decoders(self) -> int:
        """Most threads that may read at once: as many decoded samples are in memory."""

    def __len__(self) -> int:
        """Number of images or studies."""

    def read(self, row: int) -> Reading:
        """Decode one.

        Raises:
            DataError: naming it, if it cannot be read.
        """

    def fingerprint(self, row: int) -> str:
        """A text that changes whenever its pixels may have changed."""


class ArrayImages:
    """Images held in memory: (N, H, W) or (N, H, W, 3) uint8.

    Args:
        values: of all rows.
        origin: a text that changes whenever these may have changed, such as `file_mark` gives of
            the file that they are from; by default each row is hashed when it is asked for.
    """

    decoders = 1

    def __init__(self, values: NDArray[np.uint8], origin: str | None = None) -> None:
        self._values, self._origin = values, origin

    def __len__(self) -> int:
        """Number of images or volumes."""
        return len(self._values)

    def read(self, row: int) -> Reading:
        """All there is of it."""
        image: NDArray[Any] = self._values[row]
        return Reading(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))

    def fingerprint(self, row: int) -> str:
        """Its origin, or a hash of its values."""
        return pixel_hash(self._values[row]) if self._origin is None else f"{self._origin}|{row}"


class ArrayVolumes(ArrayImages):
    """Volumes held in memory, likewise: (N, D, H, W)."""

    def read(self, row: int) -> Reading:
        """One volume; nobody says how large a voxel is."""
        return Reading(self._values[row].astype(np.int16))

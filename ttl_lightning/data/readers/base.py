"""What every reader of pixels is, and the readers of what lies in memory. No torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.content import pixel_hash
from ttl_lightning.data.readers.left_out import LeftOut
from ttl_lightning.data.readers.volume import UNKNOWN_MM, Volume


class Decoded(Protocol):
    """What a reader gives of one image or study."""

    @property
    def pixels(self) -> NDArray[Any]:
        """(C, H, W) of an image, C = 1 or 3, uint8 or uint16; (S, H, W) of a study."""

    @property
    def left_out(self) -> LeftOut:
        """What of the file is not in them."""


class Reader(Protocol):
    """Where the pixels of images or studies come from, by row."""

    @property
    def decoders(self) -> int:
        """Most threads that may read at once: as many decoded samples are in memory."""

    def __len__(self) -> int:
        """Number of images or studies."""

    def read(self, row: int) -> Decoded:
        """Decode one.

        Raises:
            DataError: naming it, if it cannot be read.
        """

    def fingerprint(self, row: int) -> str:
        """A text that changes whenever its pixels may have changed."""


class Reading(NamedTuple):
    """Pixels (C, H, W), C = 1 or 3, uint8 or uint16, and what of the file is not in them."""

    pixels: NDArray[Any]
    left_out: LeftOut = LeftOut()


class _Array(ABC):
    """What lies in memory, (N, …) uint8.

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

    @abstractmethod
    def read(self, row: int) -> Decoded:
        """All there is of it."""

    def fingerprint(self, row: int) -> str:
        """Its origin, or a hash of its values."""
        return pixel_hash(self._values[row]) if self._origin is None else f"{self._origin}|{row}"


class ArrayImages(_Array):
    """Images held in memory: (N, H, W) or (N, H, W, 3)."""

    def read(self, row: int) -> Reading:
        """All there is of it."""
        image: NDArray[Any] = self._values[row]
        return Reading(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))


class ArrayVolumes(_Array):
    """Volumes held in memory: (N, D, H, W)."""

    def read(self, row: int) -> Volume:
        """One volume; nobody says how large a voxel is."""
        return Volume(self._values[row].astype(np.int16), UNKNOWN_MM)

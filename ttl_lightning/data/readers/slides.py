"""Patches of slides, each slide opened once for all of its patches."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.content import file_mark
from ttl_lightning.data.readers.reading import Reading, to_storage
from ttl_lightning.data.readers.volume import missing_package, naming
from ttl_lightning.errors import DataError

MOST_BYTES = 4 * 2**30


class SlidePatches:
    """Squares of TIFF files, by row.

    Args:
        paths: of the slides; patches of one should follow each other, since one is open at a time.
        middles: (x, y) of each patch, in the slide's pixels.
        side: of a patch; what lies beyond the slide's edge is mirrored.
    """

    decoders = 1

    def __init__(
        self, paths: Sequence[Path], middles: Sequence[tuple[int, int]], side: int
    ) -> None:
        self._paths, self._middles, self._side = list(paths), list(middles), side
        self._open: tuple[Path, NDArray[np.uint8]] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of patches."""
        return len(self._paths)

    def read(self, row: int) -> Reading:
        """One patch, (3, side, side).

        Raises:
            ConfigError: naming the extra, if tifffile is not installed.
            DataError: naming the slide, if it cannot be read or the patch lies outside of it.
        """
        path, (x, y) = self._paths[row], self._middles[row]
        with self._lock:
            if self._open is None or self._open[0] != path:
                self._open = path, _slide(path)
            slide = self._open[1]
        high, wide = slide.shape[:2]
        if not (0 <= x < wide and 0 <= y < high):
            raise DataError(f"{path}: a patch's middle ({x}, {y}) is outside of {wide} × {high}.")
        return Reading(to_storage(_patch(slide, x, y, self._side), 0, 255))

    def fingerprint(self, row: int) -> str:
        """The slide's path, time and size, and where the patch lies.

        Raises:
            DataError: naming the slide, if it does not exist.
        """
        path = self._paths[row]
        try:
            return f"{file_mark(path)}|{self._middles[row]}|{self._side}"
        except OSError as error:
            raise DataError(f"cannot read slide {path}: {error.strerror}.") from None


def _patch(slide: NDArray[np.uint8], x: int, y: int, side: int) -> NDArray[np.uint8]:
    left, top = x - side // 2, y - side // 2
    rows, columns = (
        _mirrored(start, side, length)
        for start, length in ((top, slide.shape[0]), (left, slide.shape[1]))
    )
    return np.ascontiguousarray(slide[np.ix_(rows, columns)])


def _mirrored(start: int, count: int, length: int) -> NDArray[np.int64]:
    """Places from a start on, those beyond an edge mirrored at it."""
    period = max(2 * (length - 1), 1)
    places = np.abs(np.arange(start, start + count)) % period
    found: NDArray[np.int64] = np.minimum(places, period - places)
    return found


def _slide(path: Path) -> NDArray[np.uint8]:
    try:
        import tifffile
    except ImportError:
        raise missing_package(path, "tifffile", "slides") from None
    with naming(f"slide {path}"), tifffile.TiffFile(path) as file:
        page: Any = file.pages[0]
        if page.dtype != np.uint8 or page.ndim != 3 or page.shape[2] not in (3, 4):
            raise ValueError(f"expected pixels (H, W, 3) of 8 bits, got {page.dtype} {page.shape}")
        if page.size > MOST_BYTES:
            raise ValueError(f"it has {page.size:,} values, more than {MOST_BYTES:,}")
        pixels: NDArray[np.uint8] = page.asarray()[..., :3]
        return pixels

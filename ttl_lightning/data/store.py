"""Decoded images at the size that training reads them, each decoded once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttl_lightning.data.ranges import spread
from ttl_lightning.data.readers.left_out import LeftOut
from ttl_lightning.data.readers.picture import Reading, read_image
from ttl_lightning.data.readers.pillow import MOST_PIXELS
from ttl_lightning.data.views.fit import FIT, Sides, fit_square
from ttl_lightning.errors import DataError

CACHES = ("memory", "disk", "none")
ON_BAD_IMAGE = ("raise", "skip")

# raise it when what is read, fitted or kept beside it changes: older files are then ignored
_FORMAT = "3"
_DECODERS = 8


class ImageReader(Protocol):
    """Where images come from, by row."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, row: int) -> Reading:
        """Decode one.

        Raises:
            DataError: naming the image, if it cannot be read.
        """

    def fingerprint(self, row: int) -> str:
        """A text that changes whenever the image may have changed."""


class ArrayImages:
    """Images held in memory: (N, H, W) or (N, H, W, 3), uint8."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._images = images

    def __len__(self) -> int:
        """Number of images."""
        return len(self._images)

    def read(self, row: int) -> Reading:
        """All there is of it."""
        image: NDArray[Any] = self._images[row]
        return Reading(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))

    def fingerprint(self, row: int) -> str:
        """Hash of the pixels."""
        return pixel_hash(self._images[row])


class FileImages:
    """Image files, each with the slice to take, if it has several."""

    def __init__(
        self,
        paths: list[Path],
        slices: list[int | None] | None = None,
        most_pixels: int = MOST_PIXELS,
    ) -> None:
        self._paths, self._most_pixels = paths, most_pixels
        self._slices = slices or [None] * len(paths)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    def read(self, row: int) -> Reading:
        """Decode one.

        Raises:
            DataError: naming the file, if it cannot be read.
        """
        return read_image(self._paths[row], self._slices[row], self._most_pixels)

    def fingerprint(self, row: int) -> str:
        """Path, time, size and slice.

        Raises:
            DataError: naming the file, if it does not exist.
        """
        path = self._paths[row]
        try:
            status = path.stat()
        except OSError as error:
            raise DataError(f"cannot read image {path}: {error.strerror}.") from None
        return f"{path.resolve()}|{status.st_mtime_ns}|{status.st_size}|{self._slices[row]}"


class Scan(NamedTuple):
    """What a look at every image found.

    hashes: by row, "" where bad. bad: reasons by bad row. sides: of the images before they became
    squares, by row, 1 × 1 where bad. spreads: of images the part of their range that they fill.
    left_out: of images what was not read of their files.
    """

    hashes: list[str]
    bad: dict[int, str]
    sides: Sides
    spreads: NDArray[np.float64] | None = None
    left_out: list[LeftOut] | None = None


class _Fitted(NamedTuple):
    image: NDArray[Any]
    sides: NDArray[np.int64]
    left_out: NDArray[np.int64]


class ImageStore:
    """Images of a reader as (C, size, size) uint8 or uint16, decoded once where there is a cache.

    Args:
        reader: where they come from.
        size: height and width to keep.
        channels: 1 averages colour to grey; 3 keeps what there is, and leaves grey alone.
        cache: "memory", "disk" (one file an image below `cache_dir`) or "none".
        cache_dir: for "disk".
        fit: how they become squares, as `fit_square` says.
    """

    def __init__(
        self,
        reader: ImageReader,
        size: int,
        channels: int,
        cache: str,
        cache_dir: Path,
        fit: str = FIT,
    ) -> None:
        self._reader, self._size, self._channels, self._fit = reader, size, channels, fit
        self._cache, self._cache_dir = cache, cache_dir
        # A tensor, not an array: worker processes that are not forked then share its memory.
        self._packed: Tensor | None = None

    def scan(self, on_bad_image: str, max_bad: int) -> Scan:
        """Decode every image once, fill the cache and hash the pixels.

        Raises:
            DataError: on the first bad image, or on more than `max_bad` of them where bad ones are
                to be skipped.
        """
        hashes, bad = [""] * len(self._reader), {}
        sides = np.ones((len(self._reader), 2), np.int64)
        spreads = np.ones(len(self._reader))
        left_out = [LeftOut()] * len(self._reader)
        packed: NDArray[Any] | None = None
        for row, fitted in enumerate(self._decoded()):
            if isinstance(fitted, DataError):
                bad[row] = str(fitted)
                check_bad(fitted, bad, on_bad_image, max_bad)
                continue
            hashes[row], sides[row] = pixel_hash(fitted.image), fitted.sides
            spreads[row], left_out[row] = spread(fitted.image), LeftOut(*fitted.left_out.tolist())
            if self._cache == "memory":
                packed = _place(packed, row, fitted.image, len(self._reader))
        if packed is not None:
            self._packed = torch.from_numpy(packed)
        return Scan(hashes, bad, sides, spreads, left_out)

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """Images (N, C, size, size), float32 in [0, 1]; C is 1 where all of them are grey."""
        if self._packed is not None:
            return _to_float(np.take(self._packed.numpy(), rows, axis=0))
        images = [_to_float(self._fetch(int(row)).image) for row in rows]
        channels = max(image.shape[0] for image in images)
        return torch.stack([image.expand(channels, -1, -1) for image in images])

    def _decoded(self) -> Iterator[_Fitted | DataError]:
        """Every image in order, decoded by threads where it comes from files."""

        def attempt(row: int) -> _Fitted | DataError:
            try:
                return self._fetch(row)
            except DataError as error:
                return error

        rows = range(len(self._reader))
        if isinstance(self._reader, ArrayImages):
            yield from map(attempt, rows)
            return
        pool = ThreadPoolExecutor(min(_DECODERS, os.cpu_count() or 1))
        try:
            yield from pool.map(attempt, rows)
        finally:
            pool.shutdown(cancel_futures=True)

    def _fetch(self, row: int) -> _Fitted:
        if self._cache != "disk":
            return self._fitted(row)
        facts = (self._reader.fingerprint(row), self._size, self._channels, self._fit, _FORMAT)
        kind = "|".join(map(str, facts))
        name = hashlib.blake2b(kind.encode(), digest_size=16).hexdigest()
        path = self._cache_dir / name[:2] / f"{name}.npy"
        fitted = _load_fitted(path)
        if fitted is None:
            fitted = self._fitted(row)
            save_array(path, *fitted)
        return fitted

    def _fitted(self, row: int) -> _Fitted:
        image, left_out = self._reader.read(row)
        square = fit_square(image, self._size, self._channels, self._fit)
        return _Fitted(square, np.array(image.shape[1:], np.int64), np.array(left_out, np.int64))


def check_bad(
    error: DataError, bad: Mapping[int, str], on_bad_image: str, max_bad: int, what: str = "images"
) -> None:
    """Raise the error of the latest bad image, or that there are too many of them, or go on.

    Args:
        error: the latest.
        bad: reasons by row, the latest too.
        on_bad_image: "raise" or "skip".
        max_bad: most that may be skipped.
        what: is bad, for the error's text.

    Raises:
        DataError: as said.
    """
    if on_bad_image == "raise":
        raise error
    if len(bad) > max_bad:
        raise DataError(
            f"{len(bad)} {what} cannot be read, data.max_bad allows {max_bad}: "
            + " ".join(list(bad.values())[:3])
        )


def pixel_hash(image: NDArray[Any]) -> str:
    """Hash of shape, type and values."""
    digest = hashlib.blake2b(f"{image.shape}{image.dtype}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _place(packed: NDArray[Any] | None, row: int, image: NDArray[Any], count: int) -> NDArray[Any]:
    """Put an image into the array of all, which widens when the first deep or colour one comes."""
    if packed is None:
        packed = np.zeros((count, *image.shape), image.dtype)
    if image.dtype.itemsize > packed.dtype.itemsize:
        packed = _deep(packed)
    if image.shape[0] > packed.shape[1]:
        packed = np.repeat(packed, 3, axis=1)
    packed[row] = _deep(image) if packed.dtype.itemsize > image.dtype.itemsize else image
    return packed


def _deep(image: NDArray[Any]) -> NDArray[np.uint16]:
    """Eight bits as sixteen: 255 × 257 = 65535, so the fraction of white is the same."""
    return image.astype(np.uint16) * np.uint16(257)


def _to_float(image: NDArray[Any]) -> Tensor:
    values = torch.from_numpy(image.astype(np.float32))
    return values.div_(float(np.iinfo(image.dtype).max))


def load_array(path: Path, *, mapped: bool = False) -> NDArray[Any] | None:
    """A cached array, or None where there is none or the file is damaged.

    Args:
        path: the .npy file.
        mapped: read from the file what is used, when it is used.
    """
    try:
        loaded: NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return loaded


def _load_fitted(path: Path) -> _Fitted | None:
    """A cached image with what is known of it, or None where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            arrays = [np.load(file, allow_pickle=False) for _ in _Fitted._fields]
    except (OSError, ValueError, EOFError):
        return None
    return _Fitted(*arrays)


def save_array(path: Path, *arrays: NDArray[Any]) -> None:
    """Write an array, or several after each other, beside the target, then rename.

    A reader sees the whole file or none.

    Raises:
        DataError: naming the folder, if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            with part.open("wb") as file:
                for array in arrays:
                    np.save(file, array, allow_pickle=False)
            part.replace(path)
    except OSError as error:
        raise DataError(f"data.cache_dir: cannot write {path.parent}: {error.strerror}.") from error

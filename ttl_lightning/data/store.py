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
from torch.nn import functional

from ttl_lightning.data.images import read_image
from ttl_lightning.errors import DataError

CACHES = ("memory", "disk", "none")
ON_BAD_IMAGE = ("raise", "skip")

_FORMAT = (
    "1"  # raise it when what `fit_square` returns changes: files written before are then ignored
)
_DECODERS = 8


class ImageReader(Protocol):
    """Where images come from, by row."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, row: int) -> NDArray[Any]:
        """(C, H, W), C = 1 or 3, uint8 or uint16.

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

    def read(self, row: int) -> NDArray[Any]:
        """(C, H, W)."""
        image: NDArray[Any] = self._images[row]
        return image[None] if image.ndim == 2 else image.transpose(2, 0, 1)

    def fingerprint(self, row: int) -> str:
        """Hash of the pixels."""
        return pixel_hash(self._images[row])


class FileImages:
    """Image files, each with the slice to take, if it has several."""

    def __init__(self, paths: list[Path], slices: list[int | None] | None = None) -> None:
        self._paths = paths
        self._slices = slices or [None] * len(paths)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._paths)

    def read(self, row: int) -> NDArray[Any]:
        """(C, H, W), decoded.

        Raises:
            DataError: naming the file, if it cannot be read.
        """
        return read_image(self._paths[row], self._slices[row])

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
    """What a look at every image found: hashes by row ("" where bad), reasons by bad row."""

    hashes: list[str]
    bad: dict[int, str]


class ImageStore:
    """Images of a reader as (C, size, size) uint8 or uint16, decoded once where there is a cache.

    Args:
        reader: where they come from.
        size: height and width to keep.
        channels: 1 averages colour to grey; 3 keeps what there is, and leaves grey alone.
        cache: "memory", "disk" (one file an image below `cache_dir`) or "none".
        cache_dir: for "disk".
    """

    def __init__(
        self, reader: ImageReader, size: int, channels: int, cache: str, cache_dir: Path
    ) -> None:
        self._reader, self._size, self._channels = reader, size, channels
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
        packed: NDArray[Any] | None = None
        for row, image in enumerate(self._decoded()):
            if isinstance(image, DataError):
                bad[row] = str(image)
                check_bad(image, bad, on_bad_image, max_bad)
                continue
            hashes[row] = pixel_hash(image)
            if self._cache == "memory":
                packed = _place(packed, row, image, len(self._reader))
        if packed is not None:
            self._packed = torch.from_numpy(packed)
        return Scan(hashes, bad)

    def batch(self, rows: NDArray[np.int64]) -> Tensor:
        """Images (N, C, size, size), float32 in [0, 1]; C is 1 where all of them are grey."""
        if self._packed is not None:
            return _to_float(np.take(self._packed.numpy(), rows, axis=0))
        images = [_to_float(self._fetch(int(row))) for row in rows]
        channels = max(image.shape[0] for image in images)
        return torch.stack([image.expand(channels, -1, -1) for image in images])

    def _decoded(self) -> Iterator[NDArray[Any] | DataError]:
        """Every image in order, decoded by threads where it comes from files."""

        def attempt(row: int) -> NDArray[Any] | DataError:
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

    def _fetch(self, row: int) -> NDArray[Any]:
        if self._cache != "disk":
            return fit_square(self._reader.read(row), self._size, self._channels)
        kind = f"{self._reader.fingerprint(row)}|{self._size}|{self._channels}|{_FORMAT}"
        name = hashlib.blake2b(kind.encode(), digest_size=16).hexdigest()
        path = self._cache_dir / name[:2] / f"{name}.npy"
        image = load_array(path)
        if image is None:
            image = fit_square(self._reader.read(row), self._size, self._channels)
            save_array(path, image)
        return image


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


def fit_square(image: NDArray[Any], size: int, channels: int) -> NDArray[Any]:
    """Shorter side resized to `size` (bilinear, antialiased), the middle of the longer side kept.

    Args:
        image: (C, H, W), of an integer type of at most 16 bits, or float32.
        size: height and width of the result.
        channels: 1 averages colour to grey.

    Returns:
        (1 or C, size, size) of the same type.
    """
    _, height, width = image.shape
    if channels == 1 and image.shape[0] == 3:
        image = np.rint(image.mean(0, keepdims=True)).astype(image.dtype)
    if (height, width) == (size, size):
        return np.ascontiguousarray(image)
    scale = size / min(height, width)
    inner = (max(size, round(height * scale)), max(size, round(width * scale)))
    values = torch.from_numpy(image.astype(np.float32))[None]
    resized = functional.interpolate(values, size=inner, mode="bilinear", antialias=True)[0]
    top, left = (inner[0] - size) // 2, (inner[1] - size) // 2
    kept = resized[:, top : top + size, left : left + size].numpy()
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        kept = np.rint(kept).clip(limits.min, limits.max)
    return np.ascontiguousarray(kept.astype(image.dtype))


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


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write beside the target, then rename: a reader sees the whole file or none.

    Raises:
        DataError: naming the folder, if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            np.save(part, array, allow_pickle=False)
            part.replace(path)
    except OSError as error:
        raise DataError(f"data.cache_dir: cannot write {path.parent}: {error.strerror}.") from error

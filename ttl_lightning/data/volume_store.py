"""Studies at the size that training reads them, each decoded once and read by the window."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttl_lightning.data.readers.volume import Volume
from ttl_lightning.data.store import (
    Scan,
    check_bad,
    load_array,
    pixel_hash,
    save_array,
)
from ttl_lightning.data.views.fit import FIT, fit_square
from ttl_lightning.errors import DataError
from ttl_lightning.records.schema import write_atomically

_FORMAT = 3  # raise it when what is stored changes: files written before are then ignored
_PERCENTILES = (0.5, 99.5)


class VolumeReader(Protocol):
    """Where studies come from, by row."""

    def __len__(self) -> int:
        """Number of studies."""

    def read(self, row: int) -> Volume:
        """All slices of a study.

        Raises:
            DataError: naming the study, if it cannot be read.
        """

    def fingerprint(self, row: int) -> str:
        """A text that changes whenever the study may have changed."""


class Facts(NamedTuple):
    """What is known of a stored study without reading it.

    shape: (slices, size, size). hash: of the stored voxels. low, high: their 0.5th and 99.5th
    percentile. sides: height and width of the slices before they became squares. lowest, highest:
    of all voxels.
    """

    shape: tuple[int, int, int]
    hash: str
    low: float
    high: float
    sides: tuple[int, int]
    lowest: float
    highest: float


class VolumeStore:
    """Studies of a reader as (slices, size, size), int16 or else float32.

    With cache="disk" a study is a .npy file, of which a window is read through the system's page
    cache, with a .json file of its `Facts` beside it; with "memory" all lie in one tensor; with
    "none" the whole study is read again for every window. While a study is prepared, it alone is
    in memory.

    Args:
        reader: where they come from.
        size: height and width to keep.
        cache: "memory", "disk" (below `cache_dir`) or "none".
        cache_dir: for "disk".
        fit: how slices become squares, as `fit_square` says.
    """

    def __init__(
        self, reader: VolumeReader, size: int, cache: str, cache_dir: Path, fit: str = FIT
    ) -> None:
        self._reader, self._size, self._fit = reader, size, fit
        self._cache, self._cache_dir = cache, cache_dir
        self._facts: dict[int, Facts] = {}
        self._files: dict[int, Path] = {}
        # A tensor, not an array: worker processes that are not forked then share its memory.
        self._packed: Tensor | None = None
        self._first: dict[int, int] = {}

    def scan(self, on_bad_image: str, max_bad: int) -> Scan:
        """Decode every study once, unless it is in the disk cache; fill the cache.

        Raises:
            DataError: on the first bad study, or on more than `max_bad` of them where bad ones are
                to be skipped.
        """
        hashes, bad = [""] * len(self._reader), {}
        kept: dict[int, NDArray[Any]] = {}
        for row in range(len(self._reader)):
            try:
                self._facts[row] = self._look(row, kept)
            except DataError as error:
                bad[row] = str(error)
                check_bad(error, bad, on_bad_image, max_bad, "studies")
                continue
            hashes[row] = self._facts[row].hash
        self._pack(kept)
        sides = np.ones((len(hashes), 2), np.int64)
        for row, facts in self._facts.items():
            sides[row] = facts.sides
        return Scan(hashes, bad, sides)

    def facts(self, row: int) -> Facts:
        """Of a study that `scan` could read."""
        return self._facts[row]

    def window(self, row: int, start: int, length: int) -> NDArray[Any]:
        """Slices from `start` on, (length, size, size), or fewer where the study ends before.

        Raises:
            DataError: naming the study, if it is no longer to be read.
        """
        stop = min(start + length, self._facts[row].shape[0])
        if self._packed is not None:
            first = self._first[row]
            window: NDArray[Any] = self._packed[first + start : first + stop].numpy()
            return window
        if self._cache == "disk":
            return np.asarray(self._mapped(row)[start:stop])
        return self._fitted(self._reader.read(row).voxels, slice(start, stop))

    def megabytes(self) -> float:
        """Size of what is stored in the disk cache, in 10^6 bytes."""
        return sum(path.stat().st_size for path in self._files.values()) / 1e6

    def _look(self, row: int, kept: dict[int, NDArray[Any]]) -> Facts:
        """Facts of one study, which is decoded and put into the cache if need be."""
        if self._cache == "disk":
            kind = f"{self._reader.fingerprint(row)}|{self._size}|{self._fit}|{_FORMAT}"
            name = hashlib.blake2b(kind.encode(), digest_size=16).hexdigest()
            path = self._cache_dir / name[:2] / f"{name}.npy"
            known, stored = _read_facts(path), load_array(path, mapped=True)
            if known is not None and stored is not None and stored.shape == known.shape:
                self._files[row] = path
                return known
        whole = self._reader.read(row).voxels
        voxels = self._fitted(whole)
        low, high = (float(value) for value in np.percentile(voxels, _PERCENTILES))
        _, height, width = whole.shape
        ends = float(voxels.min()), float(voxels.max())
        facts = Facts(voxels.shape, pixel_hash(voxels), low, high, (height, width), *ends)
        if self._cache == "disk":
            save_array(path, voxels)
            _write_facts(path, facts)
            self._files[row] = path
        elif self._cache == "memory":
            kept[row] = voxels
        return facts

    def _fitted(self, voxels: NDArray[Any], part: slice = slice(None)) -> NDArray[Any]:
        return fit_slices(voxels[part], self._size, self._fit, float(voxels.min()))

    def _mapped(self, row: int) -> NDArray[Any]:
        """A study in the disk cache; one that was damaged since the scan is decoded again."""
        path, shape = self._files[row], self._facts[row].shape
        stored = load_array(path, mapped=True)
        if stored is None or stored.shape != shape:
            stored = self._fitted(self._reader.read(row).voxels)
            if stored.shape != shape:
                raise DataError(f"{path}: the study has changed since the run began.")
            save_array(path, stored)
        return stored

    def _pack(self, kept: dict[int, NDArray[Any]]) -> None:
        """Move all studies into one tensor, which needs one handle to be shared."""
        if not kept:
            return
        kind = np.result_type(*(voxels.dtype for voxels in kept.values()))
        packed = torch.empty(
            (sum(map(len, kept.values())), self._size, self._size),
            dtype=torch.int16 if kind == np.int16 else torch.float32,
        )
        first = 0
        for row in list(kept):
            voxels = kept.pop(row)
            packed[first : first + len(voxels)] = torch.from_numpy(voxels)
            self._first[row], first = first, first + len(voxels)
        self._packed = packed


def fit_slices(voxels: NDArray[Any], size: int, fit: str, black: float) -> NDArray[Any]:
    """Each slice resized as `fit_square` does.

    Args:
        voxels: (slices, rows, columns).
        size: height and width of the result.
        fit: as in `fit_square`.
        black: likewise.

    Returns:
        (slices, size, size), int16 where that holds all values of the type, else float32.
    """
    kind = np.int16 if np.can_cast(voxels.dtype, np.int16) else np.float32
    fitted = np.empty((len(voxels), size, size), kind)
    for place, plane in zip(fitted, voxels, strict=True):
        place[:] = fit_square(plane[None].astype(kind), size, 1, fit, black)[0]
    return fitted


def _read_facts(path: Path) -> Facts | None:
    """What was written beside a stored study, or None where it is missing or damaged."""
    try:
        content = json.loads(path.with_suffix(".json").read_bytes())
        shape = tuple(int(extent) for extent in content["shape"])
        low, high = float(content["low"]), float(content["high"])
        height, width = (int(extent) for extent in content["sides"])
        ends = float(content["lowest"]), float(content["highest"])
        known = (str(content["hash"]), low, high, (height, width), *ends)
        facts = Facts((shape[0], shape[1], shape[2]), *known)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
    return facts


def _write_facts(path: Path, facts: Facts) -> None:
    """Write a stored study's facts beside it.

    Raises:
        DataError: naming the folder, if it cannot be written.
    """
    try:
        write_atomically(path.with_suffix(".json"), json.dumps(facts._asdict()).encode())
    except OSError as error:
        raise DataError(f"data.cache_dir: cannot write {path.parent}: {error.strerror}.") from error

"""Decoded images and studies at the size that training reads them, each decoded once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import NDArray
from torch import Tensor

from ttl_lightning.data.content import pixel_hash
from ttl_lightning.data.readers.base import Reader
from ttl_lightning.data.readers.reading import LeftOut
from ttl_lightning.errors import DataError

Form = Callable[[NDArray[Any]], NDArray[Any]]
"""Makes decoded pixels what is kept, (A, size, size); its `repr` says all that this depends on."""

WHOLE = slice(None)

# raise it when what is decoded, or known of it, changes: files written before are then ignored
_FORMAT = 5
_PERCENTILES = (0.5, 99.5)
_CHUNK_BYTES = 64 * 2**20
# of a file's end, in which its facts lie
_TAIL_BYTES = 4096


class Facts(NamedTuple):
    """What is known of a stored array without reading it.

    shape: (A, size, size), A the channels or slices. kind: its type. hash: of its values. low,
    high: their 0.5th and 99.5th percentile. lowest, highest: of all of them. sides: height and
    width of what was decoded, before it became square. left_out: what of the file is not in it.
    """

    shape: tuple[int, int, int]
    kind: str
    hash: str
    low: float
    high: float
    lowest: float
    highest: float
    sides: tuple[int, int]
    left_out: LeftOut

    @property
    def spread(self) -> float:
        """The part of its type's range that it fills, but for its darkest and brightest pixels."""
        return (self.high - self.low) / float(np.iinfo(self.kind).max)


class Store:
    """What a reader reads in the form that is kept, decoded once where there is a cache.

    With cache="disk" each is a .npy file, of which a part is read through the system's page cache,
    and its `Facts` are the file's last line, so that a later store neither decodes nor hashes it;
    with "memory" all lie in a few tensors; with "none" it is decoded whenever it is read, unless it
    is the one that was read last. While they are prepared, no more than twice as many as the
    reader's `decoders` are in memory.

    Args:
        reader: where they come from.
        form: what is kept of them.
        cache: "memory", "disk" (below `cache_dir`) or "none".
        cache_dir: for "disk".
    """

    def __init__(self, reader: Reader, form: Form, cache: str, cache_dir: Path) -> None:
        self._reader, self._form = reader, form
        self._cache, self._cache_dir = cache, cache_dir
        self._facts: dict[int, Facts] = {}
        self._files: dict[int, Path] = {}
        self._packed = _Packed(len(reader))
        self._last: tuple[int, NDArray[Any]] | None = None

    def scan(self, on_bad_image: str, max_bad: int, counted: str) -> dict[int, str]:
        """Decode each once, unless the disk has it; fill the cache, and learn the facts.

        Args:
            on_bad_image: "raise" or "skip".
            max_bad: most that may be skipped.
            counted: what they are called.

        Returns:
            Why it cannot be read, by row, of each that is skipped.

        Raises:
            DataError: on the first that cannot be read, or on too many of them.
        """
        bad: dict[int, str] = {}
        for row, found in enumerate(self._looked_at()):
            if isinstance(found, DataError):
                bad[row] = str(found)
                _check_bad(found, bad, on_bad_image, max_bad, counted)
                continue
            self._facts[row], array = found
            if array is not None:
                self._packed.add(row, array)
        return bad

    def facts(self, row: int) -> Facts:
        """Of one that `scan` could read."""
        return self._facts[row]

    def read(self, row: int, part: slice = WHOLE) -> NDArray[Any]:
        """A part, along the first axis, of one that `scan` could read.

        Raises:
            DataError: naming it, if it is no longer to be read.
        """
        if self._cache == "memory":
            return self._packed.get(row)[part]
        if self._cache == "disk":
            return np.asarray(self._on_disk(row, mapped=part is not WHOLE)[part])
        if self._last is None or self._last[0] != row:
            self._last = row, self._form(self._reader.read(row).pixels)
        return self._last[1][part]

    def megabytes(self) -> float:
        """Size of what is stored in the disk cache, in 10^6 bytes."""
        return sum(path.stat().st_size for path in self._files.values()) / 1e6

    def _looked_at(self) -> Iterator[tuple[Facts, NDArray[Any] | None] | DataError]:
        """Each in order, decoded by the reader's threads, and never many ahead of what is taken."""

        def attempt(row: int) -> tuple[Facts, NDArray[Any] | None] | DataError:
            try:
                return self._look(row)
            except DataError as error:
                return error

        count = min(self._reader.decoders, cpu_count())
        if count == 1:
            yield from map(attempt, range(len(self._reader)))
            return
        ahead: deque[Future[tuple[Facts, NDArray[Any] | None] | DataError]] = deque()
        pool = ThreadPoolExecutor(count)
        try:
            for row in range(len(self._reader)):
                ahead.append(pool.submit(attempt, row))
                if len(ahead) == 2 * count:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _look(self, row: int) -> tuple[Facts, NDArray[Any] | None]:
        """Facts of one, which is decoded if need be, and the array if it goes into memory."""
        if self._cache == "disk":
            self._files[row] = path = self._path(row)
            if known := _read_facts(path):
                return known, None
        decoded = self._reader.read(row)
        array = self._form(decoded.pixels)
        left_out = decoded.left_out
        if _greyed(decoded.pixels, self._form):
            left_out = left_out._replace(colour=True)
        facts = _facts_of(array, decoded.pixels.shape, left_out)
        if self._cache == "disk":
            _save(path, array, facts)
        return facts, array if self._cache == "memory" else None

    def _path(self, row: int) -> Path:
        kind = f"{self._reader.fingerprint(row)}|{self._form!r}|{_FORMAT}"
        name = hashlib.blake2b(kind.encode(), digest_size=16).hexdigest()
        return self._cache_dir / name[:2] / f"{name}.npy"

    def _on_disk(self, row: int, *, mapped: bool) -> NDArray[Any]:
        """One in the disk cache; where it was damaged since the scan, it is decoded again.

        Args:
            row: of the reader.
            mapped: what is used of it is read when it is used.
        """
        path, facts = self._files[row], self._facts[row]
        try:
            stored: NDArray[Any] = np.load(
                path, mmap_mode="r" if mapped else None, allow_pickle=False
            )
            if stored.shape == facts.shape:
                return stored
        except (OSError, ValueError, EOFError):
            pass
        decoded = self._reader.read(row)
        stored = self._form(decoded.pixels)
        if pixel_hash(stored) != facts.hash:
            raise DataError(f"{path}: the image or study has changed since the run began.")
        _save(path, stored, facts)
        return stored


class _Packed:
    """Arrays in tensors of some 64 MB, which need few handles to be shared with other processes."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        # Tensors, not arrays: worker processes that are not forked then share their memory.
        self._chunks: list[Tensor] = []
        self._places: dict[int, tuple[int, slice]] = {}
        self._open: dict[np.dtype[Any], tuple[int, int]] = {}

    def add(self, row: int, array: NDArray[Any]) -> None:
        chunk, first = self._open.get(array.dtype, (None, 0))
        if chunk is None or first + len(array) > len(self._chunks[chunk]):
            # as many as this one has, of each row that is still to come, or as many as fit
            left = len(array) * (self._rows - len(self._places))
            fitting = _CHUNK_BYTES // array[0].nbytes
            length = max(len(array), min(left, fitting))
            chunk, first = len(self._chunks), 0
            empty = np.empty((length, *array.shape[1:]), array.dtype)
            self._chunks.append(torch.from_numpy(empty))
        place = slice(first, first + len(array))
        self._chunks[chunk].numpy()[place] = array
        self._places[row], self._open[array.dtype] = (chunk, place), (chunk, place.stop)

    def get(self, row: int) -> NDArray[Any]:
        chunk, place = self._places[row]
        array: NDArray[Any] = self._chunks[chunk].numpy()[place]
        return array


def _check_bad(
    error: DataError, bad: Mapping[int, str], on_bad_image: str, max_bad: int, counted: str
) -> None:
    """Raise the latest error, or that there are too many of them, or go on.

    Raises:
        DataError: as said.
    """
    if on_bad_image == "raise":
        raise error
    if len(bad) > max_bad:
        raise DataError(
            f"{len(bad)} {counted} cannot be read, data.max_bad allows {max_bad}: "
            + " ".join(list(bad.values())[:3])
        )


def _greyed(pixels: NDArray[Any], form: object) -> bool:
    """Whether the form has one channel of a picture that has three, and not the same thrice."""
    grey = getattr(form, "channels", None) == 1 and len(pixels) == 3
    return grey and not np.array_equal(pixels[:2], pixels[1:])


def _facts_of(array: NDArray[Any], decoded: tuple[int, ...], left_out: LeftOut) -> Facts:
    low, high = (float(value) for value in np.percentile(array, _PERCENTILES))
    count, height, width = array.shape
    return Facts(
        shape=(count, height, width),
        kind=array.dtype.str,
        hash=pixel_hash(array),
        low=low,
        high=high,
        lowest=float(array.min()),
        highest=float(array.max()),
        sides=(decoded[-2], decoded[-1]),
        left_out=left_out,
    )


def _read_facts(path: Path) -> Facts | None:
    """What the last line of a stored array says, or None where it is missing or damaged."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read()
        content = json.loads(tail[tail.rindex(b"\n") + 1 :])
        shape, sides, left_out = (tuple(content.pop(key)) for key in ("shape", "sides", "left_out"))
        facts = Facts(**content, shape=shape, sides=sides, left_out=LeftOut(*left_out))
        whole = facts.shape[0] * facts.shape[1] * facts.shape[2] * np.dtype(facts.kind).itemsize
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None
    return facts if size > whole else None


def _save(path: Path, array: NDArray[Any], facts: Facts) -> None:
    """Write an array and its facts beside the target, then rename: all of it is there, or nothing.

    Raises:
        DataError: naming the folder, if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            with part.open("wb") as file:
                np.save(file, array, allow_pickle=False)
                file.write(b"\n" + json.dumps(facts._asdict()).encode())
            part.replace(path)
    except OSError as error:
        raise DataError(f"data.cache_dir: cannot write {path.parent}: {error.strerror}.") from error

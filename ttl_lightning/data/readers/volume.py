"""What the readers share: how a volume is turned, and errors that name the file."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.data.readers.reading import Reading
from ttl_lightning.errors import ConfigError, DataError, TTLError

MOST_TOLD = 300
"""Characters of a library's own words in an error."""

# The parts of (left, back, head), DICOM's patient axes, along which a volume's three axes run.
_TARGET = (2, 1, 0)


def assemble(
    slices: Iterable[NDArray[Any]], shape: tuple[int, int, int], steps_mm: NDArray[np.float64]
) -> Reading:
    """Turn stored slices to the patient's closest axes, one at a time into one array.

    Args:
        slices: as many as `shape` says, each of its second and third extent.
        shape: extents of the stored axes.
        steps_mm: (3, 3), for each stored axis the way from a voxel to the next: to the patient's
            left, back and head.

    Returns:
        (S, P, L), as a radiologist pages through it: slices from the feet to the head, rows from
        the front to the back, columns from the patient's right to the left. int16 where every value
        is a whole number that fits, else float32.

    Raises:
        ValueError: if there are no voxels, or one is not finite as float32.
    """
    if 0 in shape:
        raise ValueError(f"it has no voxels, shape {shape}")
    order, turned = closest_axes(steps_mm)
    flips = tuple(slice(None, None, -1) if turn else slice(None) for turn in turned)
    back = np.argsort(order)
    voxels: NDArray[Any] = np.empty([shape[axis] for axis in order], np.int16)
    bad = 0
    for index, values in enumerate(slices):
        if voxels.dtype == np.int16 and not _fits_int16(values):
            voxels = voxels.astype(np.float32)
        if values.dtype.kind == "f":
            bad += int((~(np.abs(values) <= np.finfo(np.float32).max)).sum())
        with np.errstate(over="ignore"):  # counted above
            voxels[flips].transpose(back)[index] = values
    if bad:
        raise ValueError(f"{bad} voxels are NaN or infinite")
    between, down, across = (float(length) for length in np.linalg.norm(steps_mm[order], axis=1))
    return Reading(voxels, spacing_mm=(between, down, across))


def closest_axes(steps_mm: NDArray[np.float64]) -> tuple[list[int], list[bool]]:
    """For each axis of a volume the stored axis that runs closest to it, and whether backwards.

    Args:
        steps_mm: as for `assemble`.
    """
    cosines = steps_mm / np.linalg.norm(steps_mm, axis=1, keepdims=True)
    order = max(
        itertools.permutations(range(3)),
        key=lambda axes: float(np.abs(cosines[list(axes), _TARGET]).sum()),
    )
    return list(order), [bool(turn) for turn in cosines[list(order), _TARGET] < 0]


@contextmanager
def naming(file: Path | str) -> Iterator[None]:
    """Make any failure within one line that names the file.

    Args:
        file: its path, and what else shall be said of it.

    Raises:
        DataError: in place of whatever was raised; the project's own errors pass.
    """
    try:
        yield
    except TTLError:
        raise
    except Exception as error:
        # Decoders raise what they like (SyntaxError, zlib.error, EOFError …), most without a path.
        raise DataError(f"cannot read {file}: {told(error)}.") from error


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Make an error in what a file holds say which file it is.

    Raises:
        DataError: as within, after the path, unless it names that itself.
    """
    try:
        yield
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error


def told(error: BaseException) -> str:
    """Why a file cannot be read: what a library says, or else what kind of error it raised.

    Some quote the damaged bytes at any length, so what is longer than a line is cut.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= MOST_TOLD else f"{text[:MOST_TOLD]}…").rstrip(".")


def missing_package(path: Path, package: str, extra: str) -> ConfigError:
    """The error for a file whose reader is not installed."""
    return ConfigError(f"{path} needs {package}: pip install 'ttl_lightning[{extra}]'.")


def _fits_int16(values: NDArray[Any]) -> bool:
    limits = np.iinfo(np.int16)
    within = bool(values.min() >= limits.min and values.max() <= limits.max)
    return within and (values.dtype.kind != "f" or bool((values == np.rint(values)).all()))

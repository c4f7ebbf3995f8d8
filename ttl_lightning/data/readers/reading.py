"""What a reader gives of one image or study: its pixels, and what of the file is not in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

UNKNOWN_MM = (float("nan"), float("nan"), float("nan"))


class LeftOut(NamedTuple):
    """What of a file is not in the pixels that were read.

    images: how many the file holds of which nobody said which to take; the middle one was read.
    deep: bits of colour, or of grey with alpha, below the upper eight. alpha: that of a picture
    which is not opaque everywhere. channels: those beyond grey, colour and alpha. inks: CMYK.
    scale: what the values were, since they are scaled by the file's own smallest and largest.
    colour: that of a picture of which the network sees the grey.
    """

    images: int = 1
    deep: bool = False
    alpha: bool = False
    channels: bool = False
    inks: bool = False
    scale: bool = False
    colour: bool = False


class Reading(NamedTuple):
    """One image or study.

    Attributes:
        pixels: (C, H, W) of an image, C = 1 or 3, uint8 or uint16; (S, H, W) of a study, as
            `volume.assemble` turns it.
        left_out: what of the file is not in them.
        spacing_mm: of neighbouring voxels of a study along each axis; NaN where the file does not
            say.
    """

    pixels: NDArray[Any]
    left_out: LeftOut = LeftOut()
    spacing_mm: tuple[float, float, float] = UNKNOWN_MM


def to_storage(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Grey (H, W) or colour (H, W, 3) as (C, H, W): uint8 untouched, else [low, high] scaled.

    Raises:
        ValueError: if there is no pixel, a value is not finite or outside the range, or the number
            of channels is not 1 or 3.
    """
    pixels = values[..., None] if values.ndim == 2 else values
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
        raise ValueError(f"expected (H, W) or (H, W, 3) pixels, got shape {values.shape}")
    if pixels.size == 0:
        raise ValueError(f"it has no pixels, shape {values.shape}")
    if pixels.dtype != np.uint8:
        pixels = _to_uint16(pixels.astype(np.float64), low, high)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _to_uint16(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint16]:
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise ValueError(f"{bad} of {values.size} pixels are NaN or infinite")
    if values.min() < low or values.max() > high:
        raise ValueError(
            f"pixels from {values.min():g} to {values.max():g} exceed {low:g}–{high:g}"
        )
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.rint(scaled * 65535).astype(np.uint16)


_SAID = {
    "deep": "hold colour, or grey with alpha, of more than 8 bits a channel{such}; the upper 8 of "
    "them were read",
    "alpha": "are transparent in places{such}; alpha was dropped, and the colour below it was read",
    "channels": "hold more channels than grey, colour and alpha{such}; the others were dropped",
    "inks": "hold CMYK{such}; it was made RGB by the plain formula, without a profile of its inks",
    "scale": "do not say which values are black and white, being signed, of 32 bits, of floating "
    "point or NIfTI{such}; each was scaled by its own smallest and largest value, so brightness "
    "does not compare between them",
    "colour": "hold colour{such}, which was averaged to grey (data.in_channels=1)",
}


def left_out_notes(found: Sequence[LeftOut], ids: Sequence[str]) -> list[str]:
    """What a run says of files of which not all was read, a line for each kind.

    Args:
        found: of the images that are used.
        ids: their names.
    """
    several = [row for row, one in enumerate(found) if one.images > 1]
    notes = []
    if several:
        most = max(several, key=lambda row: found[row].images)
        notes.append(
            f"{len(several)} of {len(found)} files hold several images (up to "
            f"{found[most].images}: {ids[most]}); the middle one of each was read. For volumes: "
            "data=volumes; for single slices: data=csv with data.slice_column."
        )
    for kind, text in _SAID.items():
        rows = [row for row, one in enumerate(found) if getattr(one, kind)]
        if rows:
            such = text.format(such=f" (such as {ids[rows[0]]})")
            notes.append(f"{len(rows)} of {len(found)} files {such}.")
    return notes

"""How images of any shape become squares, and what a run says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

FITS = ("squash", "pad", "crop")
FIT = "squash"
"""How an image becomes a square, and how it does by default."""

_ENLARGED = 2  # from so many times the size on, a run says that images are enlarged

Sides = NDArray[np.int64]
"""Height and width of each image, (n, 2)."""


def fit_square(
    image: NDArray[Any], size: int, channels: int, fit: str = FIT, black: float = 0
) -> NDArray[Any]:
    """Resize an image (bilinear, antialiased) to a square.

    Args:
        image: (C, H, W), of an integer type of at most 16 bits, or float32.
        size: height and width of the result.
        channels: 1 averages colour to grey.
        fit: "squash" resizes both sides to `size`; "pad" the longer one, with bars on both sides of
            the image; "crop" the shorter one, and keeps the middle of the longer.
        black: value of the bars.

    Returns:
        (1 or C, size, size) of the same type.
    """
    if channels == 1 and image.shape[0] == 3:
        image = np.rint(image.mean(0, keepdims=True)).astype(image.dtype)
    _, height, width = image.shape
    inner = _resized(height, width, size, fit)
    if (height, width) == inner == (size, size):
        return np.ascontiguousarray(image)
    values = torch.from_numpy(image.astype(np.float32))[None]
    resized = functional.interpolate(values, size=inner, mode="bilinear", antialias=True)[0].numpy()
    top, left = (abs(side - size) // 2 for side in inner)
    if fit == "pad":
        fitted = np.full((len(image), size, size), black, np.float32)
        fitted[:, top : top + inner[0], left : left + inner[1]] = resized
    else:
        fitted = resized[:, top : top + size, left : left + size]
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        fitted = np.rint(fitted).clip(limits.min, limits.max)
    return np.ascontiguousarray(fitted.astype(image.dtype))


def _resized(height: int, width: int, size: int, fit: str) -> tuple[int, int]:
    if fit == "squash":
        return size, size
    if fit == "pad":
        scale = size / max(height, width)
        return max(1, round(height * scale)), max(1, round(width * scale))
    scale = size / min(height, width)
    return round(height * scale), round(width * scale)


def fit_notes(sides: Sides, size: int, fit: str, counted: str) -> list[str]:
    """What a run says of images that are not square, and of those that are enlarged much.

    Args:
        sides: of the images that are used.
        size: of the squares.
        fit: as in `fit_square`.
        counted: what an image is called.
    """
    notes = []
    short, long = sides.min(1), sides.max(1)
    # as `fit_square` rounds: less than a pixel is nothing
    stretch = np.rint(size * long / short) / size
    wide = int((stretch > 1).sum())
    if wide:
        most = stretch.max()
        lost = f"{1 - 1 / most:.1%}"
        done = {
            "squash": f"are squashed into squares, up to {most:.2f}-fold (data.fit=squash)",
            "pad": f"have black bars, up to {lost} of the square (data.fit=pad)",
            "crop": f"lose pixels to the square crop, up to {lost} of their area (data.fit=crop); "
            "squash and pad keep all of them",
        }
        notes.append(f"{wide} of {len(sides)} {counted} are not square and {done[fit]}.")
    enlarged = int((long * _ENLARGED <= size).sum())
    if enlarged:
        height, width = sides[long.argmin()]
        notes.append(
            f"{enlarged} of {len(sides)} {counted} are enlarged to {size} × {size} pixels, the "
            f"smallest from {height} × {width}; data.image_size decides."
        )
    return notes

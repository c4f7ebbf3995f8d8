"""How images of any shape become squares, and what a run says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ttl_lightning.data.options import FIT

_ENLARGED = 2  # from so many times the size on, a run says that images are enlarged

Sides = NDArray[np.int64]
"""Height and width of each image, (n, 2)."""


@dataclass(frozen=True)
class ImageForm:
    """Images as squares of their own type, (1 or C, size, size); arguments as of `fit_square`."""

    size: int
    channels: int
    fit: str = FIT

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """(C, H, W) so."""
        return fit_square(pixels, self.size, self.channels, self.fit)


@dataclass(frozen=True)
class MaskForm:
    """Masks as the squares that their images or slices become; arguments as of `VolumeForm`."""

    size: int
    fit: str = FIT
    depth: int | None = None

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """(C, H, W) so, or (S, H, W)."""
        if self.depth is not None:
            pixels = pixels[_nearest(len(pixels), self.depth)]
        return fit_mask(pixels, self.size, self.fit)


@dataclass(frozen=True)
class VolumeForm:
    """Volumes of square slices, (slices, size, size), int16 or else float32.

    Attributes:
        size: height and width.
        fit: how slices become squares, as `fit_square` says; bars are as black as the volume gets.
        depth: slices that it is resampled to; None leaves them alone.
    """

    size: int
    fit: str = FIT
    depth: int | None = None

    def __call__(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """(S, H, W) so."""
        voxels = pixels if self.depth is None else fit_depth(pixels, self.depth)
        return fit_slices(voxels, self.size, self.fit, float(voxels.min()))


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
    return _as_type(_placed(resized, size, black), image.dtype)


def fit_mask(mask: NDArray[Any], size: int, fit: str = FIT) -> NDArray[Any]:
    """A mask (C, H, W) as the square (C, size, size) that `fit_square` makes of its image.

    Each pixel has the value of the nearest one; bars are background.
    """
    _, height, width = mask.shape
    high, wide = _resized(height, width, size, fit)
    near = mask[:, _nearest(height, high)[:, None], _nearest(width, wide)]
    return _placed(near, size, 0)


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    """Which of so many pixels each of the new ones lies in."""
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)


def place_of(sides: tuple[int, int], size: int, fit: str) -> NDArray[np.float64]:
    """Where an image's own pixels lie in its square.

    Args:
        sides: height and width of the image.
        size: of the square.
        fit: as in `fit_square`.

    Returns:
        (2, 2): factor and shift, along rows and along columns, from the image's coordinates to the
        square's; both run from -1 to 1 between the outer edges.
    """
    inner = np.array(_resized(*sides, size, fit), np.float64)
    start = np.trunc((inner - size) / 2)  # as `_placed` rounds
    return np.stack([inner / size, (inner - 2 * start) / size - 1], axis=1)


def _placed(resized: NDArray[Any], size: int, fill: float) -> NDArray[Any]:
    """The middle (C, size, size) of what is larger, with bars around what is smaller."""
    (high, wide), fitted = resized.shape[1:], resized
    if high < size or wide < size:
        fitted = np.full((len(resized), size, size), fill, resized.dtype)
        top, left = (size - high) // 2, (size - wide) // 2
        fitted[:, top : top + high, left : left + wide] = resized
    else:
        top, left = (high - size) // 2, (wide - size) // 2
        fitted = resized[:, top : top + size, left : left + size]
    return np.ascontiguousarray(fitted)


def fit_slices(voxels: NDArray[Any], size: int, fit: str, black: float) -> NDArray[Any]:
    """Each slice of a volume resized as `fit_square` does.

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


def fit_depth(voxels: NDArray[Any], slices: int) -> NDArray[Any]:
    """(D, H, W) resampled to (slices, H, W) linearly, antialiased, as `fit_square` does planes."""
    depth, height, width = voxels.shape
    if depth == slices:
        return voxels
    columns = torch.from_numpy(voxels.astype(np.float32)).reshape(1, 1, depth, height * width)
    resized = functional.interpolate(
        columns, size=(slices, height * width), mode="bilinear", antialias=True
    )
    return _as_type(resized.numpy(), voxels.dtype).reshape(slices, height, width)


def _as_type(values: NDArray[np.float32], kind: np.dtype[Any]) -> NDArray[Any]:
    """Rounded and within the limits, where it is a type of whole numbers."""
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        values = np.rint(values).clip(limits.min, limits.max)
    return values.astype(kind)


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

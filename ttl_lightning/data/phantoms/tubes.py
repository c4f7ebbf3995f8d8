"""Tubes and balls drawn into volumes, each within its own box of voxels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ttl_lightning.data.phantoms.images import Array, ramp

Box = tuple[slice, slice, slice]


class Grid(NamedTuple):
    """Voxel centres along each axis; the unit is half the width of the field of view."""

    z: Array  # (S,), from feet to head
    y: Array  # (H,), from front to back
    x: Array  # (W,), to the patient's left
    pixel: float  # the wider side of a pixel


class Tube(NamedTuple):
    """A tapering tube with round ends; a ball where both ends meet. Points are z, y, x."""

    start: Array  # (3,)
    end: Array  # (3,)
    radius: float  # at the start
    tip: float  # radius at the end


def make_grid(shape: tuple[int, int, int], tall: float) -> Grid:
    """The grid of `shape` slices, rows and columns; slices reach from `-tall` to `tall`."""
    z, y, x = (
        np.linspace(-half + half / n, half - half / n, n, dtype=np.float32)
        for n, half in zip(shape, (tall, 1, 1), strict=True)
    )
    return Grid(z, y, x, 2 / min(shape[1:]))


def paint(volume: Array, grid: Grid, tube: Tube, value: float) -> None:
    """Fill a tube in a volume (S, H, W), in place."""
    box, share = cover(grid, tube)
    part = volume[box]
    part += share * (value - part)


def cover(grid: Grid, tube: Tube, box: Box | None = None) -> tuple[Box, Array]:
    """Which share of each voxel a tube covers, 0 to 1, in a box: by default, the one around it."""
    box = box or _box(grid, tube)
    z, y, x = np.ix_(
        *(axis[part] - at for axis, part, at in zip(grid[:3], box, tube.start, strict=True))
    )
    dz, dy, dx = (float(d) for d in tube.end - tube.start)
    length2 = max(dz * dz + dy * dy + dx * dx, 1e-12)
    run = z * dz + y * dy + x * dx
    t = np.clip(run / length2, 0, 1)
    away = np.sqrt(np.maximum(z * z + y * y + x * x + t * (t * length2 - 2 * run), 0))
    return box, ramp(tube.radius + t * (tube.tip - tube.radius) - away, grid.pixel / 2)


def _box(grid: Grid, tube: Tube) -> Box:
    reach = max(tube.radius, tube.tip) + grid.pixel
    low = np.minimum(tube.start, tube.end) - reach
    high = np.maximum(tube.start, tube.end) + reach
    z, y, x = (
        slice(*np.searchsorted(axis, (first, last)))
        for axis, first, last in zip(grid[:3], low, high, strict=True)
    )
    return z, y, x

"""Chest-like images drawn from a seed: what a radiograph shows, in about forty array operations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ttl_lightning.errors import check_choice, check_number

Array = NDArray[np.float32]

LEVELS = {"texture": "ground_glass", "blob": "nodule", "shape": "cardiomegaly"}
"""Each level with the name of its positive class."""

MAX_PATCHES = 3
_CHUNK = 16  # images drawn at once: their arrays stay in the processor's second-level cache
_NUMBERS = 56  # uniform random numbers an image; every feature has its own columns
_COARSE, _FINE = 9, 56  # grid points a side of the smooth and of the fine random fields


class Phantoms(NamedTuple):
    """Drawn images (N, H, W) uint8, labels (N,) int64, and masks (N, H, W) bool.

    Lesions are what marks the positives, but for an enlarged heart; negatives have none.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    lung_masks: NDArray[np.bool_]
    lesion_masks: NDArray[np.bool_]


class _Canvas(NamedTuple):
    """Random numbers and coordinates of one chunk; x grows to the image's right, y downwards."""

    u: Array  # (N, _NUMBERS, 1, 1), uniform in [0, 1)
    noise: Array  # (N, H, W), standard normal
    coarse: Array  # (N, H, W), smooth, about unit variance
    fine: Array  # (N, H, W), grains of about 2 % of the width, about unit variance
    x: Array  # (1, 1, W), from -1 to 1
    y: Array  # (1, H, 1), from -1 to 1
    positive: Array  # (N, 1, 1), 0 or 1

    def uniform(self, column: int, low: float, high: float) -> Array:
        """One number an image, (N, 1, 1)."""
        return np.float32(low) + np.float32(high - low) * self.u[:, column]


def generate(
    n: int,
    size: int = 64,
    level: str = "texture",
    difficulty: float = 0.5,
    seed: int = 0,
    *,
    balance: float = 0.5,
    first: int = 0,
) -> Phantoms:
    """Draw images number `first` to `first + n - 1` of the endless series of a seed.

    Each image depends on (seed, its number) and on the options alone. Mean and spread of its grey
    values are drawn independently of its label, as an automatic exposure sets them, so they do not
    tell the classes apart.

    Args:
        n: number of images.
        size: height and width in pixels.
        level: what marks the positives: fine `texture`, `blob` (nodules), or heart `shape`.
        difficulty: 0 (plain to see) to 1 (barely there).
        seed: of the series.
        balance: fraction of positives, met to within one image in every stretch of the series.
        first: number of the first image.

    Raises:
        ConfigError: naming the key that is out of range.
    """
    check_number("data.size", n, 0, integer=True)
    check_number("data.image_size", size, 8, 4096, integer=True)
    check_choice("data.level", level, LEVELS)
    check_number("data.difficulty", difficulty, 0, 1)
    check_number("data.balance", balance, 0, 1)
    numbers = np.arange(first, first + n, dtype=np.int64)
    labels = label_of(numbers, balance)
    images = np.empty((n, size, size), np.uint8)
    lungs, lesions = np.empty((2, n, size, size), np.bool_)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        canvas = _canvas(numbers[part], labels[part], size, seed)
        drawn = _draw(canvas, level, np.float32(1 - difficulty))
        images[part], lungs[part], lesions[part] = drawn
    return Phantoms(images, labels, lungs, lesions)


def label_of(numbers: NDArray[np.int64], balance: float) -> NDArray[np.int64]:
    """Labels of a series: positives in the given fraction, to within one in every stretch of it."""
    labels: NDArray[np.float64] = np.floor((numbers + 1) * balance) - np.floor(numbers * balance)
    return labels.astype(np.int64)


def _canvas(numbers: NDArray[np.int64], labels: NDArray[np.int64], size: int, seed: int) -> _Canvas:
    n = len(numbers)
    u = np.empty((n, _NUMBERS, 1, 1), np.float32)
    noise = np.empty((n, size, size), np.float32)
    coarse = np.empty((n, _COARSE, _COARSE), np.float32)
    fine = np.empty((n, _FINE, _FINE), np.float32)
    for i, number in enumerate(numbers):
        rng = np.random.default_rng((seed, int(number)))
        rng.random(dtype=np.float32, out=u[i, :, 0, 0])
        for field in (noise, coarse, fine):
            rng.standard_normal(dtype=np.float32, out=field[i])
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return _Canvas(
        u,
        noise,
        _spread(coarse, size),
        _spread(fine, size),
        axis[None, None, :],
        axis[None, :, None],
        labels.astype(np.float32)[:, None, None],
    )


def _spread(grid: Array, size: int) -> Array:
    """Random grids (N, K, K) as smooth fields (N, size, size) of about unit variance."""
    weight = smoothing(grid.shape[-1], size)
    return np.asarray(weight @ grid @ weight.T, np.float32)


def smoothing(points: int, size: int) -> Array:
    """Weights (size, points) that spread random numbers smoothly along an axis, variance kept."""
    distance = np.linspace(0, points - 1, size)[:, None] - np.arange(points)[None, :]
    weight = np.exp(-(distance**2) / (2 * 0.5**2))
    unit = weight / np.sqrt((weight**2).sum(1, keepdims=True))
    return np.asarray(unit, np.float32)


def ramp(value: Array, softness: float | Array) -> Array:
    """0 below, 1 above zero, with a ramp of the given half width."""
    share: Array = np.clip(value * (np.float32(0.5) / np.float32(softness)) + np.float32(0.5), 0, 1)
    return share


def _draw(
    c: _Canvas, level: str, ease: np.float32
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Images, lungs and lesions."""
    mid = c.uniform(0, -0.06, 0.06)
    across = np.abs(c.x - mid)  # distance from the spine
    left = c.x > mid  # the patient's left is on the image's right
    heart = _heart(c, mid, level, ease)
    lung = _lungs(c, across, left) * (1 - heart)
    image = _tissue(c, across) * (1 - c.uniform(1, 0.62, 0.72) * lung)
    image += _bones(c, across, left, lung)
    image += _vessels(c, across, lung)
    haze, lesion = _haze(c, mid, level, ease)
    image += haze * lung
    image += c.uniform(2, 0.008, 0.016) * c.noise
    return _expose(c, image), lung > 0.5, (lesion * lung > 0.5) & (c.positive > 0)


def _heart(c: _Canvas, mid: Array, level: str, ease: np.float32) -> Array:
    """The heart's silhouette, 0 to 1; `shape` widens it."""
    width = c.uniform(3, 0.27, 0.33)
    if level == "shape":
        width = width * (1 + c.positive * (np.float32(0.12) + np.float32(0.4) * ease))
    height = c.uniform(4, 0.30, 0.36)
    dx = (c.x - (mid + np.float32(0.42) * width)) / width
    dy = (c.y - c.uniform(5, 0.20, 0.28)) / height
    dy = dy - np.float32(0.35) * dx  # the apex points down and to the patient's left
    dy = np.where(dy > 0, np.float32(0.7) * dy, dy)  # it rests on the diaphragm, no lung between
    return ramp(1 - dx * dx - dy * dy, 0.18)


def _lungs(c: _Canvas, across: Array, left: NDArray[np.bool_]) -> Array:
    """Both lung fields, 0 to 1: ellipses cut by the mediastinum and by the diaphragm's domes."""
    wide = np.where(left, c.uniform(6, 0.31, 0.36), c.uniform(7, 0.34, 0.39))
    centre = np.where(left, c.uniform(8, 0.42, 0.46), c.uniform(9, 0.42, 0.46))
    base = np.where(left, c.uniform(10, 0.42, 0.55), c.uniform(11, 0.34, 0.47))
    middle, tall = c.uniform(12, -0.12, -0.04), c.uniform(13, 0.70, 0.78)
    # narrower towards the apex, broader towards the base
    dx = (across - centre) / (wide * (1 + np.float32(0.22) * (c.y - middle)))
    dy = (c.y - middle) / tall
    dy2 = dy * dy
    outline = ramp(1 - dx * dx * np.sqrt(dx * dx + np.float32(1e-6)) - dy2 * dy2, 0.12)
    dome = across - centre
    diaphragm = ramp(base + np.float32(1.5) * dome * dome - c.y, 0.03)
    return outline * diaphragm * ramp(across - c.uniform(14, 0.11, 0.15), 0.025)


def _tissue(c: _Canvas, across: Array) -> Array:
    """Soft tissue with shoulders, mediastinum, spine and the dark windpipe."""
    shoulder = np.float32(-0.86) + np.float32(0.55) * np.maximum(across - np.float32(0.32), 0)
    body = ramp(c.y - shoulder - c.uniform(15, -0.10, 0.06), 0.05)
    body = body * ramp(c.uniform(16, 0.90, 1.02) - across - np.float32(0.06) * c.y, 0.03)
    thick = np.float32(0.62) - np.float32(0.16) * across * across
    vertebra = 1 + np.float32(0.10) * np.cos(c.y * c.uniform(17, 24, 30) + c.uniform(18, 0, 6))
    spine = np.float32(0.20) * np.exp(-((across / np.float32(0.10)) ** 2)) * vertebra
    windpipe = np.exp(-((across / np.float32(0.045)) ** 2)) * ramp(np.float32(-0.35) - c.y, 0.15)
    belly = np.float32(0.10) * ramp(c.y - np.float32(0.55), 0.35)
    tissue: Array = body * (thick + spine - np.float32(0.16) * windpipe + belly)
    return tissue


def _bones(c: _Canvas, across: Array, left: NDArray[np.bool_], lung: Array) -> Array:
    """Posterior ribs, fainter anterior ribs of the opposite slope, and the collar bones."""
    turn = np.float32(2 * np.pi)
    spacing = c.uniform(19, 0.185, 0.225)
    away = across - np.float32(0.12)
    behind = c.y - c.uniform(20, 0.55, 0.75) * away * away + np.float32(0.10) * away
    rear = np.cos((behind / spacing + c.uniform(21, 0, 1)) * turn)
    ahead = c.y + c.uniform(22, 0.35, 0.55) * away
    front = np.cos((ahead / (spacing * np.float32(1.15)) + c.uniform(23, 0, 1)) * turn)
    cage = np.float32(0.025) + lung
    bones: Array = c.uniform(24, 0.07, 0.11) * cage * np.clip(rear * 2 - np.float32(0.2), 0, 1)
    bones += c.uniform(25, 0.02, 0.04) * cage * np.clip(front * 2 - np.float32(0.6), 0, 1)
    height = np.where(left, c.uniform(26, -0.66, -0.56), c.uniform(27, -0.66, -0.56))
    off = (c.y - height + np.float32(0.16) * across) / np.float32(0.035)
    reach = np.float32(0.13) * ramp(across - np.float32(0.09), 0.02)
    reach = reach * ramp(np.float32(0.74) - across, 0.05)
    bones += np.clip(1 - off * off, 0, 1) * reach
    return bones


def _vessels(c: _Canvas, across: Array, lung: Array) -> Array:
    """The hila and the strands that thin out from them."""
    dx = (across - np.float32(0.20)) / np.float32(0.20)
    dy = (c.y - c.uniform(28, -0.08, 0.02)) / np.float32(0.36)
    near = np.exp(-(dx * dx)) * np.exp(-(dy * dy))
    strand = np.clip(1 - np.float32(2.2) * np.abs(c.coarse), 0, 1)
    vessels: Array = lung * (
        near * np.float32(0.16) + strand * (np.float32(0.02) + np.float32(0.10) * near)
    )
    return vessels


def _haze(c: _Canvas, mid: Array, level: str, ease: np.float32) -> tuple[Array, Array]:
    """Patches in the lung fields. Every image has some; only what fills them tells the classes.

    `texture`: fine grains in positives, a smooth field of the same strength in negatives.
    `blob`: nodules in positives, on the smooth patches that both classes have.

    Returns:
        The patches, and where that lies which only positives show, 0 to 1.
    """
    cloud = _patches(c, mid, 30, c.uniform(29, 0.16, 0.24))
    strength = np.float32(0.05) + np.float32(0.07) * ease
    if level == "texture":
        grain = np.where(c.positive > 0, c.fine, c.coarse)
        return cloud * (np.float32(0.06) + strength * grain), cloud
    smooth = cloud * (np.float32(0.04) + np.float32(0.04) * c.coarse)
    if level != "blob":
        return smooth, np.zeros_like(smooth)
    nodules = _patches(c, mid, 42, c.uniform(29, 0.065, 0.09))
    smooth += c.positive * nodules * (np.float32(0.10) + np.float32(0.26) * ease)
    return smooth, nodules


def _patches(c: _Canvas, mid: Array, column: int, radius: Array) -> Array:
    """One to three round patches within the lung fields, from the numbers at `column` on."""
    total = np.zeros_like(c.noise)
    for i in range(MAX_PATCHES):
        at = column + 4 * i
        side = np.where(c.u[:, at] < 0.5, np.float32(-1), np.float32(1))
        x = mid + side * c.uniform(at + 1, 0.30, 0.60)
        # on the patient's left the heart covers the lower field
        y = c.uniform(at + 2, -0.45, 0.20) - np.float32(0.12) * (side + 1)
        there = (c.u[:, at + 3] < 0.5) if i else np.float32(1)
        gx = np.exp(-(((c.x - x) / radius) ** 2)) * there
        total += gx * np.exp(-(((c.y - y) / radius) ** 2))
    return np.minimum(total, 1)


def _expose(c: _Canvas, image: Array) -> NDArray[np.uint8]:
    """Grey values with a mean and a spread drawn for each image, whatever it shows."""
    centred = image - image.mean((1, 2), keepdims=True)
    spread = np.sqrt((centred * centred).mean((1, 2), keepdims=True))
    grey = centred * (c.uniform(54, 46, 56) / spread) + c.uniform(55, 100, 130)
    pixels: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return pixels

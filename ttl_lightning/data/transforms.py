"""Augmentation of whole batches: one exact affine warp a sample, drawn from (seed, epoch, index).

A warp does crop, scaling, rotation and flip in one bilinear reading of the stored image. Every
sample's numbers come from a hash of (seed, epoch, index), so they do not depend on the batch it is
in, on the number of workers, or on where a run was resumed. torchvision's transforms draw from one
global stream and work image by image, several times slower at small sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ttl_lightning.data.options import ascending_pair
from ttl_lightning.errors import check_number

Key = tuple[int, int]
"""(epoch, index)."""

AXES, FLIP = 6, 3
"""What a warp is drawn from, in numbers, and which of them decides the flip."""


class Transform(Protocol):
    """Stored images (N, C, R, R) in [0, 1] and their keys -> network input (N, in_channels, S, S).

    Volumes (N, C, D, R, R) -> (N, in_channels, D, S, S): what is done to one slice is done to all.

    Attributes:
        period: after so many epochs a sample's input comes again; None: it never does.
    """

    @property
    def period(self) -> int | None:
        """As said."""

    def __call__(self, images: Tensor, keys: Sequence[Key]) -> Tensor:
        """The network's input."""


@dataclass(frozen=True)
class Augment:
    """How training images vary.

    Attributes:
        resize_factor: images are stored at this multiple of the network's input size (256 / 224 by
            custom).
        crop_scale: smallest and largest area of the crop, as fractions of the stored image.
        crop_ratio: smallest and largest width / height of the crop, before it is cut to the image.
        rotation_degrees: largest rotation to either side; what comes from outside is black.
        horizontal_flip: probability.
        slice_jitter: volumes only: how far a window may begin before or after its place, as a
            fraction of its length.
        views: each image has so many views, which are drawn once and come by turns; None: a new one
            in every epoch.
    """

    resize_factor: float = 256 / 224
    crop_scale: tuple[float, float] = (0.6, 1.0)
    crop_ratio: tuple[float, float] = (0.9, 1.1)
    rotation_degrees: float = 7.0
    horizontal_flip: float = 0.5
    slice_jitter: float = 0.0
    views: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: naming the key.
        """
        key = "protocol.augment."
        check_number(key + "resize_factor", self.resize_factor, 1, 4)
        check_number(key + "rotation_degrees", self.rotation_degrees, 0, 180)
        check_number(key + "horizontal_flip", self.horizontal_flip, 0, 1)
        check_number(key + "slice_jitter", self.slice_jitter, 0, 1)
        if self.views is not None:
            check_number(key + "views", self.views, 1, integer=True)
        for name, low, high in (("crop_scale", 0.01, 1), ("crop_ratio", 0.1, 10)):
            pair = ascending_pair(key + name, getattr(self, name), low, high)
            object.__setattr__(self, name, pair)

    @property
    def period(self) -> int | None:
        """As of `Transform`."""
        still = (
            self.crop_scale == self.crop_ratio == (1.0, 1.0)
            and self.rotation_degrees == 0
            and self.horizontal_flip in (0, 1)
        )
        return 1 if still else self.views

    def stored_size(self, image_size: int) -> int:
        """Height and width at which images are kept."""
        return round(image_size * self.resize_factor)


@dataclass(frozen=True)
class TrainTransform:
    """Random warp, then normalization.

    Attributes:
        augment: how images vary.
        image_size: height and width of what a warped image would be as a whole.
        mean: one a channel.
        std: one a channel.
        seed: of what is drawn.
        patch: height and width of what is drawn of it; by default the whole.
    """

    augment: Augment
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int
    patch: int | None = None

    def __call__(self, images: Tensor, keys: Sequence[Key]) -> Tensor:
        """(N, C, R, R) -> (N, len(mean), patch, patch); volumes as `Transform` says."""
        return normalize(self._read(images, keys), self.mean, self.std)

    def masks(self, masks: Tensor, keys: Sequence[Key]) -> Tensor:
        """Masks (N, C, R, R) warped as their images, each pixel to the nearest one's value."""
        return self._read(masks.float(), keys, "nearest").to(masks.dtype)

    @property
    def period(self) -> int | None:
        """As of `Transform`; patches are drawn anew unless there are so many views."""
        drawn = self.patch is not None and self.patch < self.image_size
        return self.augment.views if drawn else self.augment.period

    def _read(self, images: Tensor, keys: Sequence[Key], mode: str = "bilinear") -> Tensor:
        size = self.patch or self.image_size
        if (views := self.augment.views) is not None:
            keys = [(epoch % views, index) for epoch, index in keys]
        warps = draw_warps(self.augment, self.seed, keys)
        if size < self.image_size:
            shares = uniforms(self.seed, keys, AXES + 2)[:, AXES:]
            warps = patches(warps, size / self.image_size, shares)
        return warp(images, warps, size, mode)


def draw_warps(augment: Augment, seed: int, keys: Sequence[Key]) -> NDArray[np.float32]:
    """Affine maps (N, 2, 3) from output to input coordinates, both in [-1, 1], one a key."""
    return warps_at(augment, uniforms(seed, keys, AXES))


def warps_at(augment: Augment, u: NDArray[np.float64]) -> NDArray[np.float32]:
    """The maps (N, 2, 3) of points (N, AXES) in [0, 1).

    The axes are area, ratio, angle, flip and place across and down; of uniform points the maps are
    training's.
    """
    width, height = crop_sides(augment, u[:, 0], u[:, 1])
    angle = np.radians(_between(u[:, 2], -augment.rotation_degrees, augment.rotation_degrees))
    mirror = np.where(u[:, FLIP] < augment.horizontal_flip, -1, 1)
    cos, sin = np.cos(angle), np.sin(angle)
    warps = np.empty((len(u), 2, 3))
    warps[:, 0, 0], warps[:, 0, 1] = cos * width * mirror, -sin * height
    warps[:, 1, 0], warps[:, 1, 1] = sin * width * mirror, cos * height
    warps[:, 0, 2] = _between(u[:, 4], -1, 1) * (1 - width)
    warps[:, 1, 2] = _between(u[:, 5], -1, 1) * (1 - height)
    return warps.astype(np.float32)


def patches(
    warps: NDArray[np.float32], side: float, shares: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Maps (N, 2, 3) of a patch of what is seen along each of `warps`.

    Args:
        warps: (N, 2, 3).
        side: of the patch, as a fraction of the whole's.
        shares: (N, 2) in [0, 1), where it lies between the borders, across and down.
    """
    centres = _between(shares, -1, 1) * (1 - side)
    found = warps.copy()
    found[:, :, :2] *= side
    found[:, :, 2] += np.einsum("nij,nj->ni", warps[:, :, :2], centres)
    return found


def warp(images: Tensor, warps: NDArray[np.float32], size: int, mode: str = "bilinear") -> Tensor:
    """Read each of (N, …, R, R) along its map into (N, …, size, size); black outside.

    The grid is spelled out and not `affine_grid`, whose matrix product may round differently for
    another batch size.
    """
    axis = (torch.arange(size, dtype=torch.float32) * 2 + 1) / size - 1
    maps = torch.from_numpy(warps)[:, :, :, None, None]
    across, down = axis[None, :], axis[:, None]
    columns = maps[:, 0, 0] * across + maps[:, 0, 1] * down + maps[:, 0, 2]
    rows = maps[:, 1, 0] * across + maps[:, 1, 1] * down + maps[:, 1, 2]
    grid = torch.stack([columns, rows], dim=-1)
    stack = images.reshape(len(images), -1, *images.shape[-2:])
    seen = functional.grid_sample(stack, grid, mode, padding_mode="zeros", align_corners=False)
    return seen.reshape(*images.shape[:-2], size, size)


def normalize(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x - mean) / std by channel; grey (N, 1, *spatial) is repeated for each entry of `mean`."""
    by_channel = (-1,) + (1,) * (images.ndim - 2)
    center = torch.tensor(mean, dtype=torch.float32).reshape(by_channel)
    spread = torch.tensor(std, dtype=torch.float32).reshape(by_channel)
    return (images - center).div_(spread)


def uniforms(seed: int, keys: Sequence[Key], count: int) -> NDArray[np.float64]:
    """Numbers (N, count) in [0, 1), a function of (seed, epoch, index) alone.

    Source: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), applied in turn to the
    seed, the epoch, the index and the column.
    """
    pairs = np.asarray(keys, np.uint64).reshape(-1, 2)
    state = _mix(np.full(len(pairs), seed, np.uint64))
    state = _mix(state + pairs[:, 0])
    state = _mix(state + pairs[:, 1])
    columns = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = _mix(state[:, None] + columns[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def crop_sides(
    augment: Augment, area: NDArray[np.float64], ratio: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width and height of crops, as fractions of the image's, for area and ratio from [0, 1)."""
    low, high = augment.crop_ratio
    areas = _between(area, *augment.crop_scale)
    ratios = np.exp(_between(ratio, math.log(low), math.log(high)))
    return np.minimum(np.sqrt(areas * ratios), 1), np.minimum(np.sqrt(areas / ratios), 1)


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = z + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _between(u: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return low + (high - low) * u

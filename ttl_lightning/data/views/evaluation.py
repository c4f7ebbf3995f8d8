"""How evaluation reads images: one view of each, or the mean of several, drawn once for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ttl_lightning.data.options import EVAL_VIEWS
from ttl_lightning.data.transforms import (
    AXES,
    FLIP,
    Augment,
    Key,
    crop_sides,
    normalize,
    warp,
    warps_at,
)
from ttl_lightning.errors import check_choice

_POINTS = 256  # a side of the grid of areas and ratios: the mean is exact to 1e-6


@dataclass(frozen=True)
class EvalTransform:
    """The centre, read between the pixels as training reads; then normalization.

    Attributes:
        image_size: height and width of what comes out.
        mean: one a channel.
        std: one a channel.
        scale: side of the square that is read, as a fraction of the stored image's; its centre is
            the image's own, also where the margin is an odd number of pixels.
    """

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float

    @property
    def period(self) -> int:
        """As of `Transform`."""
        return 1

    def area(self, stored_size: int) -> float:
        """Share of a stored image that is read."""
        return self.scale**2

    def place(self, stored_size: int) -> tuple[float, float]:
        """Factor and shift from the stored image's coordinates to those of what comes out.

        Both run from -1 to 1 between the outer edges.
        """
        return 1 / self.scale, 0.0

    def read(self, images: Tensor, mode: str = "bilinear") -> Tensor:
        """(N, …, R, R) -> (N, …, image_size, image_size), not normalized."""
        centre = np.array([[[self.scale, 0, 0], [0, self.scale, 0]]], np.float32)
        return warp(images, np.repeat(centre, len(images), axis=0), self.image_size, mode)

    def masks(self, masks: Tensor, keys: Sequence[Key]) -> Tensor:
        """Masks (N, C, R, R) read likewise, each pixel with the nearest one's value."""
        return self.read(masks.float(), "nearest").to(masks.dtype)

    def __call__(self, images: Tensor, keys: Sequence[Key]) -> Tensor:
        """(N, C, R, R) -> (N, len(mean), image_size, image_size); volumes as `Transform` says."""
        return normalize(self.read(images), self.mean, self.std)


@dataclass(frozen=True)
class CropTransform:
    """The middle pixels as they are, half a pixel off the centre where the margin is odd."""

    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def period(self) -> int:
        """As of `Transform`."""
        return 1

    def area(self, stored_size: int) -> float:
        """Share of a stored image that is read."""
        return (self.image_size / stored_size) ** 2

    def place(self, stored_size: int) -> tuple[float, float]:
        """As of `EvalTransform`."""
        margin = stored_size - self.image_size
        return stored_size / self.image_size, (margin - 2 * (margin // 2)) / self.image_size

    def masks(self, masks: Tensor, keys: Sequence[Key]) -> Tensor:
        """Masks (N, C, R, R) read likewise."""
        return self.read(masks)

    def read(self, images: Tensor) -> Tensor:
        """(N, …, R, R) -> (N, …, image_size, image_size), not normalized."""
        start = (images.shape[-1] - self.image_size) // 2
        stop = start + self.image_size
        return images[..., start:stop, start:stop]

    def __call__(self, images: Tensor, keys: Sequence[Key]) -> Tensor:
        """(N, C, R, R) -> (N, len(mean), image_size, image_size); volumes as `Transform` says."""
        return normalize(self.read(images), self.mean, self.std)


def evaluation(
    view: str,
    augment: Augment,
    image_size: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> EvalTransform | CropTransform:
    """How validation and test samples are read.

    A crop that is enlarged to the network's input shows things larger than they are in the whole
    image, and reading between pixels smooths; a network knows things as training showed them.

    Args:
        view: "train_scale" reads the centre at the mean side of the training crops; "whole" reads
            all of the stored image; "center_crop" copies the middle pixels.
        augment: how training images vary.
        image_size: height and width of the network's input.
        mean: one a channel.
        std: one a channel.

    Raises:
        UnknownNameError: naming data.eval_view.

    Source: Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019.
    """
    check_choice("data.eval_view", view, EVAL_VIEWS)
    if view == "center_crop":
        return CropTransform(image_size, mean, std)
    scale = mean_scale(augment) if view == "train_scale" else 1.0
    return EvalTransform(image_size, mean, std, scale)


def mean_scale(augment: Augment) -> float:
    """Mean side of the training crops, as a fraction of the stored image's side.

    (E[width] + E[height]) / 2 of what `draw_warps` draws, cut to the image as there, by the
    midpoint rule over area and ratio. For square crops it is E[√area], which is
    2/3 (b^1.5 - a^1.5) / (b - a) for areas from a to b.
    """
    middles = (np.arange(_POINTS) + 0.5) / _POINTS
    area, ratio = np.meshgrid(middles, middles)
    return float(np.mean(crop_sides(augment, area, ratio)))


@dataclass(frozen=True)
class SeveralViews:
    """The evaluation's view and others, spread evenly over the warps of training.

    Attributes:
        evaluation: the first view.
        augment: how training images vary.
        count: number of views.
    """

    evaluation: EvalTransform | CropTransform
    augment: Augment
    count: int

    @property
    def period(self) -> int:
        """As of `Transform`."""
        return 1

    def __call__(self, images: Tensor, keys: Sequence[Key]) -> Tensor:
        """(N, C, R, R) -> (N, count, len(mean), image_size, image_size); volumes likewise."""
        first = self.evaluation
        views = [first(images, keys)]
        for other in warps_at(self.augment, spread_points(self.count)):
            seen = warp(images, np.repeat(other[None], len(images), axis=0), first.image_size)
            views.append(normalize(seen, first.mean, first.std))
        return torch.stack(views, dim=1)


def spread_points(count: int) -> NDArray[np.float64]:
    """Points (count - 1, AXES) in [0, 1) for `warps_at`: beside the evaluation's, `count` views.

    A Latin hypercube: along each axis the points are the middles of equal parts, in the order of an
    additive recurrence, so a mean over few views leans to no side. The evaluation's view counts as
    one that is not flipped.

    Source: Roberts, "The unreasonable effectiveness of quasirandom sequences" (2018), whose R
        sequence steps by powers of the root of x^(d+1) = x + 1; McKay, Beckman and Conover,
        Technometrics 1979, for the hypercube.
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (AXES + 1))
    steps = root ** -np.arange(1, AXES + 1)
    sequence = (0.5 + np.arange(1, count)[:, None] * steps) % 1
    ranks = sequence.argsort(axis=0).argsort(axis=0)
    points = (ranks + 0.5) / max(count - 1, 1)
    points[:, FLIP] = (ranks[:, FLIP] + 0.5) / count
    return points

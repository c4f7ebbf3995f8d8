"""What canonical correlations of unrelated features look like: high dimensions raise them."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ttl_lightning.errors import DataError, check_number
from ttl_lightning.interpret.svcca import Floats

# Of the integral over a law; twice as many change nothing in the fifth digit.
CELLS = 8192


def spectrum_edges(p: int, q: int, n: int) -> tuple[float, float]:
    """Lowest and highest canonical correlation of independent Gaussian features, as all grow large.

    √(a(1 − b)) ∓ √(b(1 − a)) with a = p / n and b = q / n. Where p + q is above n, p + q − n of the
    correlations are 1, and the edges are those of the others; with p or q of at least n, all are 1.

    Args:
        p: dimensions of one side.
        q: dimensions of the other.
        n: number of samples.

    Source:
        Wachter, The Limiting Empirical Measure of Multiple Discriminant Ratios, Annals of
        Statistics 8 (1980) 937-957.
    """
    _check(p, q, n)
    a, b = min(p / n, 1.0), min(q / n, 1.0)
    if max(a, b) == 1:
        return 1.0, 1.0
    left, right = math.sqrt(a * (1 - b)), math.sqrt(b * (1 - a))
    return abs(left - right), min(left + right, 1.0)


def expected_coefficients(p: int, q: int, n: int) -> Floats:
    """Canonical correlations of independent Gaussian features, by their limiting law.

    Nothing is drawn: these are the law's quantiles, each averaged over its share of the law, so
    that their mean is the law's. It is above that of drawn features by at most 0.003 from 16
    dimensions on, and by 0.01 for fewer. Compare truncated features with those of the retained
    dimensions. Neighbouring positions of a map are alike, so that maps count as fewer samples than
    n, and unrelated ones reach higher than this; those of permuted images (`mismatched`) show how
    much.

    Args:
        p: dimensions of one side.
        q: dimensions of the other.
        n: number of samples; the features count as centred, which takes one degree of freedom.

    Returns:
        descending, min(p, q, n − 1) of them.

    Raises:
        ConfigError: if a number is out of range.

    Source:
        Wachter 1980, and Bouchaud, Laloux, Miceli and Potters, Large Dimension Forecasting Models
        and Random Singular Value Spectra, European Physical Journal B 55 (2007) 201-207: the
        density of the squared correlations between the edges l and h is
        √((z − l²)(h² − z)) / (2π a z (1 − z)), with a the smaller of p / n and q / n.
    """
    _check(p, q, n)
    free = n - 1
    count = min(p, q, free)
    if max(p, q) >= free:
        return np.ones(count)
    ones = max(0, p + q - free)
    low, high = spectrum_edges(p, q, free)
    # z = middle + half cos θ takes the square root's edges away; θ is at the middle of each cell
    theta = math.pi * (np.arange(CELLS) + 0.5) / CELLS
    half = (high**2 - low**2) / 2
    z = (high**2 + low**2) / 2 + half * np.cos(theta)  # descending
    masses = np.sin(theta) ** 2 / (z * (1 - z))
    reached = np.concatenate([[0.0], np.cumsum(masses)])
    sums = np.concatenate([[0.0], np.cumsum(masses * np.sqrt(z))])
    between = count - ones
    parts = np.interp(np.linspace(0, reached[-1], between + 1), reached, sums)
    return np.concatenate([np.ones(ones), np.diff(parts) * between / reached[-1]])


def mismatched(images: int, generator: np.random.Generator) -> Tensor:
    """A random order of a batch's images in which none keeps its place.

    For the baseline of permuted images: `x[mismatched(len(x), generator)]` pairs each image's map
    with that of another one of the batch. Positions stay paired, so what images have in common at a
    position (a border, the same organ) still counts; so does what the images of one batch share,
    unless the loader mixes classes and patients.

    Args:
        images: in the batch, at least two.
        generator: of the order.

    Raises:
        DataError: for a batch of one image.
    """
    if images < 2:
        raise DataError(f"images can be permuted in batches of two or more, got {images}.")
    cycle = generator.permutation(images)
    order = np.empty(images, np.int64)
    order[cycle] = np.roll(cycle, 1)
    return torch.from_numpy(order)


def _check(p: int, q: int, n: int) -> None:
    check_number("p", p, 1, integer=True)
    check_number("q", q, 1, integer=True)
    check_number("n", n, 2, integer=True)

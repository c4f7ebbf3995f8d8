"""What canonical correlations of unrelated features look like: high dimensions raise them."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from ttl_lightning.analysis.svcca import Floats
from ttl_lightning.errors import DataError, check_number

# Of the quadrature of a smooth function; twice as many change nothing in the sixth digit.
NODES = 512


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


def expected_mean(p: int, q: int, n: int) -> float:
    """Mean canonical correlation of independent Gaussian features, as all grow large.

    Source:
        Wachter 1980; the density of the squared correlations between the edges l and h is
        √((z − l²)(h² − z)) / (2π a z (1 − z)), with a the smaller of p / n and q / n.
    """
    low, high = spectrum_edges(p, q, n)
    if low == high == 1:
        return 1.0
    a, b = min(p, q) / n, max(p, q) / n
    # z = middle + half cos θ takes the square root's edges away
    nodes, weights = _quadrature()
    theta = math.pi / 2 * (nodes + 1)
    half = (high**2 - low**2) / 2
    z = (high**2 + low**2) / 2 + half * np.cos(theta)
    density = (half * np.sin(theta)) ** 2 / (2 * math.pi * a * z * (1 - z))
    between = math.pi / 2 * float(weights @ (density * np.sqrt(z)))
    return between + max(0.0, (a + b - 1) / a)


@functools.cache
def _quadrature() -> tuple[Floats, Floats]:
    """Gauss and Legendre's nodes and weights, which take longer than all else here."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights


def gaussian_coefficients(p: int, q: int, n: int, seed: int = 0) -> Floats:
    """Draw the canonical correlations of independent Gaussian features, (n, p) and (n, q).

    No such features are drawn: in a basis whose first axes span the first side, the other side is
    a Gaussian block above the triangle of Bartlett's decomposition, so time and memory do not
    depend on n. Compare truncated features with a draw of the retained dimensions. Neighbouring
    positions of a map are alike, so that maps count as fewer samples than n, and unrelated ones
    reach higher than this draw; those of permuted images (`mismatched`) show how much.

    Args:
        p: dimensions of one side.
        q: dimensions of the other.
        n: number of samples; the features count as centred, which takes one degree of freedom.
        seed: of the draw.

    Returns:
        descending, min(p, q, n − 1) of them.

    Raises:
        ConfigError: if a number is out of range.

    Source:
        Bartlett, On the Theory of Statistical Regression, Proceedings of the Royal Society of
        Edinburgh 53 (1933) 260-283.
    """
    _check(p, q, n)
    generator = np.random.default_rng(seed)
    free = n - 1
    p = min(p, free)
    rows = min(free - p, q)
    shared = generator.standard_normal((p, q))
    rest = np.triu(generator.standard_normal((rows, q)), 1)
    degrees = free - p - np.arange(rows)
    rest[np.arange(rows), np.arange(rows)] = np.sqrt(generator.chisquare(degrees))
    basis, _ = np.linalg.qr(np.concatenate([shared, rest]))
    return np.linalg.svd(basis[:p], compute_uv=False).clip(0, 1)


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

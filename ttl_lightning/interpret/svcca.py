"""How alike two sets of features are: canonical correlations, from their covariances alone.

Sources: Raghu, Gilmer, Yosinski and Sohl-Dickstein, SVCCA: Singular Vector Canonical Correlation
Analysis for Deep Learning Dynamics and Interpretability, NeurIPS 2017; Morcos, Raghu and Bengio,
Insights on Representational Similarity in Neural Networks with Canonical Correlation, NeurIPS 2018,
section 2.1 (the projection weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ttl_lightning.errors import DataError, check_number
from ttl_lightning.interpret.defaults import VARIANCE_KEPT
from ttl_lightning.interpret.moments import Moments, PairMoments

Floats = npt.NDArray[np.float64]
Features = Tensor | npt.NDArray[Any]

# A direction of less variance than this share of the largest is what rounding left of none.
RANK_TOLERANCE = 1e-12
ROWS_COPIED = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Similarity:
    """Canonical correlations of two feature sets.

    With n close to the retained dimensions, or below them, they are near 1 whatever the features:
    compare them with `baselines`, and never across dimensions.

    Attributes:
        coefficients: descending, from 0 to 1, as many as the fewer of the retained dimensions.
        mean: of all coefficients; None where there are none, since a side is constant.
        pwcca: their mean weighted by how much of the first features each stands for; None likewise.
        retained: dimensions of either side that were related.
        n: number of samples.
    """

    coefficients: Floats
    mean: float | None
    pwcca: float | None
    retained: tuple[int, int]
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """Leading principal components of one feature set.

    Attributes:
        vectors: (p, k), orthonormal, of the scaled channels; the largest variance first.
        roots: (k,), standard deviations along them.
        scale: (p,), what channels were divided by first.
    """

    vectors: Tensor
    roots: Tensor
    scale: Tensor

    @property
    def whitening(self) -> Tensor:
        """(p, k), what makes the features uncorrelated with variance 1."""
        return self.vectors / self.roots / self.scale[:, None]

    @property
    def projections(self) -> Tensor:
        """(k, p), covariances of the whitened features with the channels."""
        return (self.vectors * self.roots).T * self.scale


def similarity(moments: PairMoments, variance: float = VARIANCE_KEPT) -> Similarity:
    """Relate two feature sets by their leading principal components.

    Args:
        moments: of the two.
        variance: share of either side's variance that the components must hold, one of them at
            least. With 1 all are kept (plain CCA), and channels are brought to one scale first, so
            that none is too small to count; below 1 the scales matter, as they do in any principal
            components.

    Raises:
        ConfigError: if the share is not from 0 to 1.
    """
    bases = whiten(moments.xx, variance), whiten(moments.yy, variance)
    return relate(*bases, moments.xy, moments.n)


def whiten(covariance: Tensor, variance: float = VARIANCE_KEPT) -> Basis:
    """Principal components of one feature set, to be related with as many others as there are.

    Args:
        covariance: (p, p).
        variance: see `similarity`.

    Raises:
        ConfigError: if the share is not from 0 to 1.
    """
    check_variance(variance)
    scale = torch.ones_like(covariance.diagonal())
    if variance == 1:
        spread = covariance.diagonal().sqrt()
        scale = torch.where(spread > 0, spread, scale)
    values, vectors = torch.linalg.eigh(covariance / torch.outer(scale, scale))
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    kept = int((values > RANK_TOLERANCE * values[0]).sum())
    if variance < 1:
        before = values.cumsum(0) - values  # what the components before one hold
        kept = min(kept, max(1, int((before < variance * values.sum()).sum())))
    return Basis(vectors[:, :kept], values[:kept].sqrt(), scale)


def relate(x: Basis, y: Basis, covariance: Tensor, n: int) -> Similarity:
    """Relate two feature sets, each by its components.

    Args:
        x: components of the first.
        y: of the second.
        covariance: of the first with the second, (p, q).
        n: number of samples.
    """
    # singular values are the correlations; u turns the whitened features into the variates
    whitened = x.whitening.T @ covariance @ y.whitening
    u, found, _ = torch.linalg.svd(whitened, full_matrices=False)
    coefficients = found.clamp(0, 1)
    mean = pwcca = None
    if len(coefficients):
        weights = (u.T @ x.projections).abs().sum(1)  # Σ over channels |<variate, channel>|
        mean = coefficients.mean().item()
        pwcca = (weights @ coefficients / weights.sum()).item()
    return Similarity(coefficients.cpu().numpy(), mean, pwcca, (len(x.roots), len(y.roots)), n)


def check_variance(variance: float) -> None:
    """Refuse a share of variance that is none.

    Raises:
        ConfigError: if it is not from 0 to 1.
    """
    check_number("variance", variance, 0, 1)


def cca(x: Features, y: Features) -> Floats:
    """Canonical correlations of two feature sets; constant and dependent channels add none.

    Args:
        x: (n, p), samples first.
        y: (n, q), of the same samples.

    Returns:
        descending, as many as the lower of the two ranks; a NumPy array whatever is given.

    Raises:
        DataError: if they are not two tables of the same two or more samples, or not finite.
    """
    return similarity(_moments(x, y), variance=1.0).coefficients


def svcca(x: Features, y: Features, variance: float = VARIANCE_KEPT) -> Floats:
    """Canonical correlations of the principal components that hold most of the variance.

    Args:
        x: (n, p), samples first.
        y: (n, q), of the same samples.
        variance: share of either side's variance to keep, from 0 to 1.

    Returns:
        descending, as many as the fewer of the retained components; a NumPy array whatever is
        given.

    Raises:
        ConfigError: if the share is out of range.
        DataError: if they are not two tables of the same two or more samples, or not finite.
    """
    return similarity(_moments(x, y), variance).coefficients


def _moments(x: Features, y: Features) -> PairMoments:
    if len(x.shape) != 2 or len(y.shape) != 2 or len(x) != len(y):
        raise DataError(
            "features must be two tables (samples, channels) of the same samples, got shapes "
            f"{tuple(x.shape)} and {tuple(y.shape)}."
        )
    moments = Moments([("x", "y")])
    for start in range(0, len(x), ROWS_COPIED):
        rows = slice(start, start + ROWS_COPIED)
        moments.update({"x": _tensor(x[rows]), "y": _tensor(y[rows])})
    return moments.pair("x", "y")


def _tensor(rows: Features) -> Tensor:
    if isinstance(rows, Tensor):
        return rows
    # a copy: torch warns of arrays that it may not write to
    return torch.from_numpy(np.array(rows, np.result_type(rows, np.float32)))

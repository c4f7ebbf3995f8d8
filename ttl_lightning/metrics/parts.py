"""What each image adds to the error of a metric.

The squares of the parts sum to the metric's variance as images are drawn anew, and the products of
two models' parts to their covariance.
"""

from __future__ import annotations

import math

import numpy as np

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.kernel import Bools, Floats, cumulative_counts, ratio


def mean_parts(values: Floats) -> tuple[float, Floats]:
    """A mean over images and its parts, of metrics that are one: (n,) to (n,).

    Raises:
        DataError: with fewer than two images.
    """
    n = len(values)
    if n < 2:
        raise DataError("there is one test sample only, which has no spread.")
    mean = float(values.mean())
    return mean, (values - mean) / math.sqrt(n * (n - 1))


def auroc_parts(scores: Floats, positive: Bools) -> tuple[float, Floats]:
    """AUROC and its parts.

    Args:
        scores: (n,); ties count half.
        positive: (n,).

    Raises:
        DataError: with fewer than two of each kind.

    Source:
        DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845, equations 4 to 6: the parts
        are V10 - AUROC and V01 - AUROC, scaled so that their squares sum to S10 / m + S01 / n.
    """
    _check(positive)
    ours, others = np.sort(scores[positive]), np.sort(scores[~positive])
    m, n = len(ours), len(others)
    below = _rank(others, scores[positive]) / n
    above = 1 - _rank(ours, scores[~positive]) / m
    area = float(below.mean())
    parts = np.empty(len(scores))
    parts[positive] = (below - area) / math.sqrt(m * (m - 1))
    parts[~positive] = (above - area) / math.sqrt(n * (n - 1))
    return area, parts


def auprc_parts(scores: Floats, positive: Bools) -> tuple[float, Floats]:
    """Average precision and its parts, by leaving out each image in turn.

    An image left out lowers the counts at its own threshold and at all below, so that sums over the
    thresholds above and below it give every one's score without it in one pass.

    Args:
        scores: (n,); samples of equal score pass a threshold together.
        positive: (n,).

    Raises:
        DataError: with fewer than two of each kind.

    Source:
        The jackknife: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 11.
    """
    _check(positive)
    n, positives = len(scores), int(positive.sum())
    (true,), (false,), thresholds = cumulative_counts(scores, positive, np.ones((1, n)))
    at = len(thresholds) - 1 - np.searchsorted(thresholds[::-1], scores)
    passed, gained = true + false, np.diff(true, prepend=0.0)
    above = np.cumsum(gained * true / passed)
    area = above[-1] / positives
    above = np.concatenate([[0.0], above])[at]
    fewer = passed - 1
    no_negative = _from(gained * ratio(true, fewer, empty=0.0))[at]
    own = ratio((gained - 1) * (true - 1), fewer, empty=0.0)[at]
    no_positive = own + _from(gained * ratio(true - 1, fewer, empty=0.0))[at + 1]
    without = np.where(
        positive, (above + no_positive) / (positives - 1), (above + no_negative) / positives
    )
    return float(area), (without.mean() - without) * math.sqrt((n - 1) / n)


def _from(values: Floats) -> Floats:
    """The sum of each value and all after it, and of nothing at the end."""
    return np.append(np.cumsum(values[::-1])[::-1], 0.0)


def _check(positive: Bools) -> None:
    if min(positive.sum(), (~positive).sum()) < 2:
        raise DataError("a class has one test sample only, which has no spread.")


def _rank(ordered: Floats, values: Floats) -> Floats:
    """How many of the ordered numbers are below each value, and half of those equal to it."""
    sides = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray(sum(sides) / 2, np.float64)

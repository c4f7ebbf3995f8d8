"""Whether two methods differ by more than the choice of test samples explains.

Both methods predict the same images, so every comparison is paired by image. With several seeds the
difference is that of the means over seeds; an image counts as one image however many seeds
predicted it. How much another training would differ is not part of these tests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ttl_lightning.errors import DataError
from ttl_lightning.tasks.weighted import Bools, Floats, cumulative_counts, ratio, step_area

RESAMPLES = 2000
# Standard normal quantile of 97.5 %.
Z95 = 1.959963984540054
# With more undefined resamples than this the interval would speak of the lucky ones only.
MIN_DEFINED = 0.9
# Numbers in one block of weights, so that a block stays in the processor's cache.
BLOCK = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A model's scores on a test split.

    Attributes:
        ids: one name an image, (n,).
        scores: (n, classes); of binary tasks class 1 alone, (n, 1).
        targets: 1 for the class, 0 for the others, NaN where not labelled; shaped as the scores.
    """

    ids: tuple[str, ...]
    scores: Floats
    targets: Floats


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference, its 95 % interval and its two-sided p-value.

    Attributes:
        seeds: how many seeds both methods have.
        images: how many different test samples these were compared on.
    """

    difference: float
    low: float
    high: float
    p_value: float
    seeds: int
    images: int


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """Two models of one seed on the same images, in the same order.

    Attributes:
        where: each image's number among the images of all seeds, (n,).
    """

    where: npt.NDArray[np.int64]
    targets: Floats
    ours: Floats
    theirs: Floats


def compare_auroc(ours: Mapping[int, Scored], theirs: Mapping[int, Scored]) -> Comparison:
    """Test the difference of two mean AUROCs by DeLong's method.

    AUROC is a mean over images (of their placements among the other class), so that of several
    seeds, or of several classes against the rest, is one too. Each image's part in the difference
    is summed over seeds and classes, and the squares of these sums add up to the variance. With
    one class this is DeLong's covariance; with each seed on images of its own it is the
    variance of a mean of independent differences.

    Args:
        ours: by seed.
        theirs: by seed; what is compared are the seeds in both.

    Returns:
        ours − theirs; the mean over classes present and over seeds.

    Raises:
        DataError: if nothing can be paired, or the variance is not defined.

    Source:
        DeLong, DeLong and Clarke-Pearson, Comparing the Areas under Two or More Correlated
        Receiver Operating Characteristic Curves, Biometrics 44 (1988) 837-845.
    """
    pairs, images = _pairs(ours, theirs)
    total, differences = np.zeros(images), []
    for pair in pairs:
        (our_area, our_parts), (their_area, their_parts) = (
            _mean_auroc(scores, pair.targets) for scores in (pair.ours, pair.theirs)
        )
        differences.append(our_area - their_area)
        np.add.at(total, pair.where, (our_parts - their_parts) / len(pairs))
    difference = float(np.mean(differences))
    error = math.sqrt(float(total @ total))
    if not error and difference:
        raise DataError("no test sample's scores vary, so the difference has no spread.")
    p = math.erfc(abs(difference) / error / math.sqrt(2)) if error else 1.0
    margin = Z95 * error
    return Comparison(difference, difference - margin, difference + margin, p, len(pairs), images)


def auroc_parts(scores: Floats, positive: Bools) -> tuple[float, Floats]:
    """AUROC, and each image's part in its error: the squares of the parts sum to its variance.

    Args:
        scores: (n,); ties count half.
        positive: (n,), at least two of each kind.

    Source:
        DeLong et al. 1988, equations 4 to 6: the parts are V10 - AUROC and V01 - AUROC, scaled so
        that their squares sum to S10 / m + S01 / n.
    """
    ours, others = np.sort(scores[positive]), np.sort(scores[~positive])
    m, n = len(ours), len(others)
    below = (_rank(others, scores[positive])) / n
    above = 1 - _rank(ours, scores[~positive]) / m
    area = float(below.mean())
    parts = np.empty(len(scores))
    parts[positive] = (below - area) / math.sqrt(m * (m - 1))
    parts[~positive] = (above - area) / math.sqrt(n * (n - 1))
    return area, parts


def compare_auprc(
    ours: Mapping[int, Scored],
    theirs: Mapping[int, Scored],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Test the difference of two mean AUPRCs (average precision) by a paired bootstrap.

    Each resample draws images with replacement, the same ones for both methods and for every seed
    that predicted them. A mean over classes is over those in the resample; a resample without
    any positives, or without negatives, does not count.

    Args:
        ours: by seed.
        theirs: by seed; what is compared are the seeds in both.
        resamples: how many to draw.
        seed: of the draws.

    Returns:
        ours − theirs, with the percentile interval; p is twice the smaller share of resamples on
        one side of zero, and at least 1 / (resamples + 1).

    Raises:
        DataError: if nothing can be paired, or over a tenth of the resamples is undefined.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15.
    """
    pairs, images = _pairs(ours, theirs)
    observed = float(_auprc_differences(pairs, np.ones((1, images)))[0])
    if math.isnan(observed):
        raise DataError("the test samples have no positives, or no negatives.")
    generator, drawn = np.random.default_rng(seed), []
    block = max(1, BLOCK // images)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        chosen = generator.integers(0, images, size=(rows, images))
        chosen += images * np.arange(rows)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=rows * images)
        weights = counts.reshape(rows, images).astype(np.float64)
        drawn.append(_auprc_differences(pairs, weights))
    differences = np.concatenate(drawn)
    defined = differences[np.isfinite(differences)]
    if len(defined) < MIN_DEFINED * resamples:
        raise DataError("too many resamples lack positives or negatives: too few of them.")
    low, high = np.quantile(defined, [0.025, 0.975])
    tail = min(float((defined <= 0).mean()), float((defined >= 0).mean()))
    p = min(1.0, max(2 * tail, 1 / (resamples + 1)))
    return Comparison(observed, float(low), float(high), p, len(pairs), images)


def average_precision(scores: Floats, positive: Bools, weights: Floats) -> Floats:
    """Average precision under each row of weights (rows, n); NaN without positives or negatives."""
    if not len(scores):
        return np.full(len(weights), np.nan)
    true, false, _ = cumulative_counts(scores, positive, weights)
    return step_area(true, false)


def _pairs(ours: Mapping[int, Scored], theirs: Mapping[int, Scored]) -> tuple[list[_Pair], int]:
    """Pair the images of each seed that both have; an image that seeds share has one number."""
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        raise DataError("there is no seed of which both have predictions.")
    shared = consistent([ours[seed] for seed in seeds])
    numbers: dict[tuple[int | None, str], int] = {}
    pairs = []
    for seed in seeds:
        mine, other = ours[seed], theirs[seed]
        rows = {name: row for row, name in enumerate(other.ids)}
        if len(rows) < len(other.ids) or len(set(mine.ids)) < len(mine.ids):
            raise DataError(f"of seed {seed}, an image is listed twice.")
        if rows.keys() != set(mine.ids) or mine.targets.shape != other.targets.shape:
            raise DataError(f"of seed {seed}, the test samples are not the same.")
        order = [rows[name] for name in mine.ids]
        if not np.array_equal(mine.targets, other.targets[order], equal_nan=True):
            raise DataError(f"of seed {seed}, the labels are not the same.")
        keys = [(None if shared else seed, name) for name in mine.ids]
        where = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
        pairs.append(_Pair(where, mine.targets, mine.scores, other.scores[order]))
    if not numbers:
        raise DataError("there are no test samples.")
    return pairs, len(numbers)


def consistent(tables: Sequence[Scored]) -> bool:
    """Whether a name means one image in all seeds, as far as its labels tell."""
    labels: dict[str, tuple[float, ...]] = {}
    for table in tables:
        for name, row in zip(table.ids, np.nan_to_num(table.targets, nan=-1.0), strict=True):
            if labels.setdefault(name, tuple(row)) != tuple(row):
                return False
    return True


def _mean_auroc(scores: Floats, targets: Floats) -> tuple[float, Floats]:
    areas, total = [], np.zeros(len(scores))
    for column in range(scores.shape[1]):
        known = ~np.isnan(targets[:, column])
        positive = targets[known, column] == 1
        if positive.all() or not positive.any():
            continue
        if min(positive.sum(), (~positive).sum()) < 2:
            raise DataError("a class has one test sample only, which has no spread.")
        area, parts = auroc_parts(scores[known, column], positive)
        areas.append(area)
        total[known] += parts
    if not areas:
        raise DataError("the test samples have no positives, or no negatives.")
    return float(np.mean(areas)), total / len(areas)


def _rank(ordered: Floats, values: Floats) -> Floats:
    """How many of the ordered numbers are below each value, and half of those equal to it."""
    sides = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray(sum(sides) / 2, np.float64)


def _auprc_differences(pairs: list[_Pair], weights: Floats) -> Floats:
    total = np.zeros(len(weights))
    for pair in pairs:
        own = weights[:, pair.where]
        total += _mean_auprc(pair.ours, pair.targets, own)
        total -= _mean_auprc(pair.theirs, pair.targets, own)
    return total / len(pairs)


def _mean_auprc(scores: Floats, targets: Floats, weights: Floats) -> Floats:
    total, classes = np.zeros(len(weights)), np.zeros(len(weights))
    for column in range(scores.shape[1]):
        known = ~np.isnan(targets[:, column])
        counted = weights if known.all() else weights[:, known]
        value = average_precision(scores[known, column], targets[known, column] == 1, counted)
        total += np.where(np.isnan(value), 0.0, value)
        classes += np.isfinite(value)
    return ratio(total, classes)

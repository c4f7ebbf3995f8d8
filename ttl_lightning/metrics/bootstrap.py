"""How far a metric may move with another draw of the same number of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, stdtrit

from ttl_lightning.errors import check_choice, check_number
from ttl_lightning.metrics.classification import (
    METRICS,
    TASKS,
    Labels,
    check_predictions,
    weighted_scores,
)
from ttl_lightning.metrics.kernel import Floats

# Numbers in one block of weights: the working set stays near 100 MB whatever the size of the split.
BLOCK = 1_000_000
# With more undefined resamples than this the interval would speak of the lucky ones only.
MIN_DEFINED = 0.9
# Metrics that have no interval, and why.
WITHOUT = {
    "ece": "no interval: chance puts ece above its true value, the more the fewer the samples"
}


def resample_indices(samples: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
    """Draw samples with replacement, in blocks of resamples, (block, samples) each."""
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK // max(samples, 1))
    for start in range(0, resamples, block):
        yield generator.integers(0, samples, size=(min(block, resamples - start), samples))


def bootstrap_intervals(
    probabilities: Floats,
    labels: Labels,
    task: str,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float] | None]:
    """Interval of every plain metric, its spread and bias found by resampling whole samples.

    On the scale of log odds, where no interval leaves [0, 1]: the estimate less its bias, plus and
    minus a quantile of Student's t, with the samples a class, times the resamples' deviation.
    Percentiles of the resamples would double a bias instead: a sample drawn twice makes two
    neighbours of one class, which lifts average precision, with ten samples a class to above the
    estimate itself. The interval is widened to its estimate where the bias moved it off.

    A mean over classes is taken over the classes present in a resample.

    Args:
        probabilities: (n, classes); binary has two columns.
        labels: class indices (n,), or in multilabel 0, 1 or NaN for not labelled, (n, classes).
        task: "binary", "multiclass" or "multilabel".
        resamples: how many to draw.
        confidence: how often the interval shall hold the metric of endlessly many samples.
        seed: of the draws.

    Returns:
        (low, high) a metric; None where it is undefined, or is so in over a tenth of the resamples,
        and where `WITHOUT` says why there can be none.

    Raises:
        UnknownNameError: the task is not one of `TASKS`.
        ConfigError: resamples or confidence out of range.
        DataError: shapes or labels that do not fit, or numbers outside [0, 1] for probabilities.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 10, 12 and 22: bias,
        t intervals, transformations. Gart, Biometrika 53 (1966) 47-57: log odds of few trials.
        Kumar, Liang and Ma, Verified Uncertainty Calibration, NeurIPS 2019: the bias of ece.
    """
    check_choice("task", task, TASKS)
    check_number("resamples", resamples, 2, integer=True)
    check_number("confidence", confidence, 0, 1)
    targets = check_predictions(probabilities, labels, task)
    found: dict[str, tuple[float, float] | None] = dict.fromkeys(METRICS, None)
    if not len(labels) or not np.isfinite(probabilities).all():
        return found
    estimates, _ = weighted_scores(probabilities, labels, task, np.ones((1, len(labels))))
    bases = _rests_on(targets, task)
    drawn: dict[str, list[Floats]] = {key: [] for key in bases}
    for indices in resample_indices(len(labels), resamples, seed):
        plain, _ = weighted_scores(probabilities, labels, task, _counts(indices))
        for key in bases:
            drawn[key].append(plain[key])
    for key, base in bases.items():
        values = np.concatenate(drawn[key])
        found[key] = _interval(float(estimates[key][0]), values, base, confidence)
    return found


def _rests_on(targets: Floats, task: str) -> dict[str, tuple[float, float, float]]:
    """What each metric's value is of: how many samples, how many a class, how many steps.

    Samples are those of the rarer kind where it takes two. A ranking's steps are pairs of two
    kinds; those of f1, which counts hits twice, are two a sample.
    """
    columns = targets[:, 1:] if task == "binary" else targets
    positives = (columns == 1).sum(axis=0)
    negatives = (columns == 0).sum(axis=0)
    every = float((~np.isnan(columns).all(axis=1)).sum())
    sick, well = (min(float(kind.sum()), every) for kind in (positives, negatives))
    rarer, classes = min(sick, well), max(int((positives > 0).sum()), 1)
    return {
        **dict.fromkeys(
            ("auroc", "auprc", "auprc_trapezoid"),
            (rarer, rarer / classes, float(positives @ negatives)),
        ),
        "f1": (sick, sick / classes, 2 * sick),
        "sensitivity": (sick, sick / classes, sick),
        "accuracy": (every, every, every),
        "specificity": (well, well, well),
    }


def _counts(indices: npt.NDArray[np.int64]) -> Floats:
    rows, samples = indices.shape
    offset = indices + samples * np.arange(rows)[:, None]
    flat = np.bincount(offset.ravel(), minlength=rows * samples)
    return flat.reshape(rows, samples).astype(np.float64)


def _interval(
    estimate: float, values: Floats, base: tuple[float, float, float], confidence: float
) -> tuple[float, float] | None:
    defined = values[np.isfinite(values)]
    if not math.isfinite(estimate) or len(defined) < max(MIN_DEFINED * len(values), 2):
        return None
    trials, each, steps = base  # see `_rests_on`
    # The log odds of 0 and 1 are taken for those of half a step from them.
    least = 0.5 / (steps + 1)
    centre = float(logit(np.clip(estimate, least, 1 - least)))
    odds = logit(np.clip(defined, least, 1 - least))
    bias = float(odds.mean()) - centre
    # A resample of m varies by (m - 1) / m of what m samples do.
    others = max(each - 1, 1.0)
    spread = float(odds.std(ddof=1)) * math.sqrt(each / others)
    if np.ptp(defined) == 0:
        # All right, or all wrong, in every resample: the log odds of so many trials (Gart 1966).
        hits = estimate * trials + 0.5
        misses = trials + 1 - hits
        centre, bias, spread = math.log(hits / misses), 0.0, math.sqrt(1 / hits + 1 / misses)
    margin = float(stdtrit(others, (1 + confidence) / 2)) * spread
    low, high = (float(expit(centre - bias + side)) for side in (-margin, margin))
    return min(low, estimate), max(high, estimate)

"""How far a metric may move with another draw of the same number of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

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
from ttl_lightning.metrics.kernel import Bools, Floats

# Numbers in one block of weights: the working set stays near 100 MB whatever the size of the split.
BLOCK = 1_000_000
# With more undefined resamples than this the interval would speak of the lucky ones only.
MIN_DEFINED = 0.9
# Metrics that have no interval, and why.
WITHOUT = {
    "ece": "no interval: chance puts ece above its true value, the more the fewer the samples"
}


def resample_indices(
    draws: int, resamples: int, seed: int, samples: int | None = None
) -> Iterator[npt.NDArray[np.int64]]:
    """Draw with replacement, in blocks of resamples, (block, draws) each.

    Args:
        draws: samples, or patients who have several.
        resamples: how many there shall be.
        seed: of the draws.
        samples: whose weights a block is made into, where these are more than the draws.
    """
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK // max(samples or draws, 1))
    for start in range(0, resamples, block):
        yield generator.integers(0, draws, size=(min(block, resamples - start), draws))


def bootstrap_intervals(
    probabilities: Floats,
    labels: Labels,
    task: str,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    patients: Sequence[str] | None = None,
) -> dict[str, tuple[float, float] | None]:
    """Interval of every plain metric, its spread and bias found by resampling samples or patients.

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
        patients: whom each sample shows; all samples of a patient are drawn together.

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
    drawn_as = np.arange(len(labels)) if patients is None else unique_numbers(patients)
    bases = _rests_on(_of_draws(targets, drawn_as), task)
    drawn: dict[str, list[Floats]] = {key: [] for key in bases}
    draws = int(drawn_as.max()) + 1
    for indices in resample_indices(draws, resamples, seed, len(labels)):
        weights = _counts(indices, draws)[:, drawn_as]
        plain, _ = weighted_scores(probabilities, labels, task, weights)
        for key in bases:
            drawn[key].append(plain[key])
    for key, base in bases.items():
        values = np.concatenate(drawn[key])
        found[key] = _interval(float(estimates[key][0]), values, base, confidence)
    return found


def unique_numbers(names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Each name's number, from 0."""
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _of_draws(targets: Floats, draws: npt.NDArray[np.int64]) -> tuple[Bools, Bools]:
    """Which draws have a positive of each class, and which a negative, (draws, classes)."""
    kinds = []
    for value in (1, 0):
        found = np.zeros((int(draws.max()) + 1, targets.shape[1]), bool)
        np.logical_or.at(found, draws, targets == value)
        kinds.append(found)
    return kinds[0], kinds[1]


def _rests_on(kinds: tuple[Bools, Bools], task: str) -> dict[str, tuple[float, float, float]]:
    """What each metric's value is of: how many samples, how many a class, how many steps.

    Samples are those of the rarer kind where it takes two. A ranking's steps are pairs of two
    kinds; those of f1, which counts hits twice, are two a sample.

    Args:
        kinds: as of `_of_draws`.
        task: as of `bootstrap_intervals`.
    """
    having, lacking = (kind[:, 1:] if task == "binary" else kind for kind in kinds)
    positives, negatives = having.sum(axis=0), lacking.sum(axis=0)
    every = float((having | lacking).any(axis=1).sum())
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


def _counts(indices: npt.NDArray[np.int64], draws: int) -> Floats:
    rows = len(indices)
    offset = indices + draws * np.arange(rows)[:, None]
    flat = np.bincount(offset.ravel(), minlength=rows * draws)
    return flat.reshape(rows, draws).astype(np.float64)


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

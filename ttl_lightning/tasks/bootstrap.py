"""How far a metric may move with another draw of the same number of samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ttl_lightning.errors import check_choice, check_number
from ttl_lightning.tasks.metrics import METRICS, TASKS, Labels, check_predictions, weighted_scores
from ttl_lightning.tasks.weighted import Floats

# Numbers in one block of weights: the working set stays near 100 MB whatever the size of the split.
BLOCK = 1_000_000
# With more undefined resamples than this the interval would speak of the lucky ones only.
MIN_DEFINED = 0.9


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
    """Percentile bootstrap interval of every plain metric, resampling whole samples.

    A mean over classes is taken over the classes present in a resample.

    Args:
        probabilities: (n, classes); binary has two columns.
        labels: class indices (n,), or in multilabel 0, 1 or NaN for not labelled, (n, classes).
        task: "binary", "multiclass" or "multilabel".
        resamples: how many to draw.
        confidence: the share of resamples that the interval holds.
        seed: of the draws.

    Returns:
        (low, high) a metric; None where it is undefined, or is so in over a tenth of the resamples.

    Raises:
        UnknownNameError: the task is not one of `TASKS`.
        ConfigError: resamples or confidence out of range.
        DataError: shapes or labels that do not fit, or numbers outside [0, 1] for probabilities.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    check_choice("task", task, TASKS)
    check_number("resamples", resamples, 1, integer=True)
    check_number("confidence", confidence, 0, 1)
    check_predictions(probabilities, labels, task)
    if not len(labels) or not np.isfinite(probabilities).all():
        return dict.fromkeys(METRICS, None)
    drawn: dict[str, list[Floats]] = {key: [] for key in METRICS}
    for indices in resample_indices(len(labels), resamples, seed):
        plain, _ = weighted_scores(probabilities, labels, task, _counts(indices))
        for key in METRICS:
            drawn[key].append(plain[key])
    return {key: _interval(np.concatenate(drawn[key]), confidence) for key in METRICS}


def _counts(indices: npt.NDArray[np.int64]) -> Floats:
    rows, samples = indices.shape
    offset = indices + samples * np.arange(rows)[:, None]
    flat = np.bincount(offset.ravel(), minlength=rows * samples)
    return flat.reshape(rows, samples).astype(np.float64)


def _interval(values: Floats, confidence: float) -> tuple[float, float] | None:
    defined = values[np.isfinite(values)]
    if len(defined) < MIN_DEFINED * len(values):
        return None
    outside = (1 - confidence) / 2
    low, high = np.quantile(defined, [outside, 1 - outside])
    return float(low), float(high)

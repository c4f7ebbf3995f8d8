"""Predicted numbers beside the true ones: errors, the variance explained, and their intervals."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import bootstrap

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.bootstrap import BLOCK, unique_numbers
from ttl_lightning.metrics.kernel import Floats
from ttl_lightning.metrics.paired import Scored
from ttl_lightning.metrics.scores import Scores

RESAMPLES = 1000
METRICS = ("mae", "mse", "r2")


@dataclass(frozen=True)
class Numbers:
    """Predictions of a split's samples.

    Attributes:
        ids: positions in the split, (n,).
        predicted: (n, targets), in the targets' own units.
        true: likewise; NaN where it is not known.
    """

    ids: npt.NDArray[np.int64]
    predicted: Floats
    true: Floats


def score(table: Numbers, names: Sequence[str]) -> Scores:
    """Mean absolute error, mean squared error and R², each the mean over targets.

    Of several targets each has its own, too, as `mae/age`. R² is 1 less the squared errors' sum
    over that of the distances from the split's own mean; it may be negative.
    """
    values: dict[str, float | None] = {}
    notes: dict[str, str] = {}
    each: dict[str, list[float | None]] = {metric: [] for metric in METRICS}
    for column in range(table.true.shape[1]):
        for metric, value in zip(METRICS, _of_target(*_known(table, column)), strict=True):
            each[metric].append(value)
    for metric, found in each.items():
        if len(found) > 1:
            values |= {f"{metric}/{name}": one for name, one in zip(names, found, strict=True)}
        known = [value for value in found if value is not None]
        values[metric] = float(np.mean(known)) if known else None
        for name, value in zip(names, found, strict=True):
            if value is None:
                key = f"{metric}/{name}" if len(found) > 1 else metric
                notes[key] = "every known value is the same" if metric == "r2" else "none is known"
        if not known:
            notes[metric] = notes.get(metric) or f"of no target is {metric} defined"
    return Scores(values, notes)


def _known(table: Numbers, column: int) -> tuple[Floats, Floats]:
    known = ~np.isnan(table.true[:, column])
    return table.predicted[known, column], table.true[known, column]


def _of_target(predicted: Floats, true: Floats) -> tuple[float | None, float | None, float | None]:
    if not len(true):
        return None, None, None
    errors = predicted - true
    spread = float(((true - true.mean()) ** 2).sum())
    squares = float((errors**2).sum())
    return (
        float(np.abs(errors).mean()),
        squares / len(true),
        1 - squares / spread if spread else None,
    )


def intervals(
    table: Numbers, patients: Sequence[str] | None = None
) -> dict[str, tuple[float, float] | None]:
    """95 % interval of each metric, found by drawing samples or patients anew.

    Args:
        table: the split's.
        patients: whom each sample shows; all samples of a patient are drawn together.

    Returns:
        (low, high); None where one is undefined, or with fewer than three samples or patients.

    Source: Efron, "Better bootstrap confidence intervals", JASA 82 (1987) 171-185.
    """
    groups = np.arange(len(table.ids)) if patients is None else unique_numbers(patients)
    sums = _sums(table, groups)
    return {metric: _interval(sums, place) for place, metric in enumerate(METRICS)}


def _sums(table: Numbers, groups: npt.NDArray[np.int64]) -> Floats:
    """By patient, target and kind: known values, |error|, error², value and value²."""
    known = ~np.isnan(table.true)
    centre = np.nanmean(np.where(known.any(0), table.true, 0.0), axis=0)  # keeps squares exact
    true = np.where(known, table.true - centre, 0.0)
    errors = np.where(known, table.predicted - centre - true, 0.0)
    kinds = np.stack([known, np.abs(errors), errors**2, true, true**2], axis=2)
    found = np.zeros((int(groups.max(initial=-1)) + 1, *kinds.shape[1:]))
    np.add.at(found, groups, kinds)
    return found


def _interval(sums: Floats, place: int) -> tuple[float, float] | None:
    count, targets, kinds = sums.shape
    if count < 3:
        return None

    def statistic(*drawn: Floats, axis: int) -> Floats:
        totals = np.stack([one.sum(axis) for one in drawn])
        n, absolute, square, total, total2 = totals.reshape(
            targets, kinds, *totals.shape[1:]
        ).swapaxes(0, 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            values = (absolute / n, square / n, 1 - square / (total2 - total**2 / n))[place]
        return np.asarray(values.mean(0))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is the same in every draw, which NaN says
        found = bootstrap(
            tuple(sums.reshape(count, -1).T),
            statistic,
            n_resamples=RESAMPLES,
            batch=max(1, BLOCK // count),
            paired=True,
            vectorized=True,
            rng=np.random.default_rng(0),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def r2_parts(table: Scored) -> tuple[float, Floats]:
    """R², the mean over targets, and each sample's part in its error.

    With A the mean squared error and B the targets' variance, R² is 1 - A / B, and a sample of
    error e and distance d from the mean moves it by (A / B d² - e²) / B, its influence.

    Raises:
        DataError: if a target has fewer than two different values.

    Source: Hampel, "The influence curve and its role in robust estimation", JASA 69 (1974).
    """
    values, total = [], np.zeros(len(table.ids))
    for predicted, true in zip(table.scores.T, table.targets.T, strict=True):
        known = ~np.isnan(true)
        n = int(known.sum())
        if n < 2 or np.ptp(true[known]) == 0:
            raise DataError("a target has fewer than two different values in the test samples.")
        squares = (predicted[known] - true[known]) ** 2
        distances = (true[known] - true[known].mean()) ** 2
        ratio = squares.mean() / distances.mean()
        values.append(1 - ratio)
        total[known] += (ratio * distances - squares) / distances.mean() / math.sqrt(n * (n - 1))
    return float(np.mean(values)), total / len(values)

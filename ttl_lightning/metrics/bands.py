"""How far a curve may move with another draw of the same number of samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ttl_lightning.metrics.bootstrap import resample_indices, unique_numbers
from ttl_lightning.metrics.kernel import Bools, Floats, cumulative_counts, ratio

GRID = np.linspace(0, 1, 101)
RESAMPLES = 300
Band = tuple[Floats, Floats]


def roc_band(scores: Floats, positive: Bools, draws: Sequence[str] | None = None) -> Band | None:
    """95 % of the true positive rates at each false positive rate of `GRID`, by percentiles.

    Args:
        scores: (n,).
        positive: (n,).
        draws: whom each sample shows; all samples of a patient are drawn together.

    Returns:
        Low and high; None unless both classes are there.
    """
    return _band(
        [
            np.interp(GRID, np.append(0, false / false[-1]), np.append(0, true / true[-1]))
            for true, false in _resampled(scores, positive, draws)
        ]
    )


def pr_band(scores: Floats, positive: Bools, draws: Sequence[str] | None = None) -> Band | None:
    """95 % of the precisions at each recall of `GRID`, likewise."""
    found = []
    for true, false in _resampled(scores, positive, draws):
        passed = true + false
        first = int(np.flatnonzero(passed)[0])  # the highest score that was drawn
        reached = np.searchsorted(true / true[-1], GRID - 1e-12).clip(first, len(true) - 1)
        found.append(ratio(true, passed)[reached])
    return _band(found)


def _band(curves: Sequence[Floats]) -> Band | None:
    if not curves:
        return None
    low, high = np.quantile(curves, (0.025, 0.975), axis=0)
    return low, high


def _resampled(
    scores: Floats, positive: Bools, draws: Sequence[str] | None
) -> Iterator[tuple[Floats, Floats]]:
    """Counts of true and false positives by threshold, a pair a resample that has both classes."""
    if positive.all() or not positive.any():
        return
    groups = np.arange(len(scores)) if draws is None else unique_numbers(draws)
    count = int(groups.max()) + 1
    for block in resample_indices(count, RESAMPLES, 0, len(scores)):
        drawn = np.zeros((len(block), count))
        np.add.at(drawn, (np.arange(len(block))[:, None], block), 1)
        true, false, _ = cumulative_counts(scores, positive, drawn[:, groups])
        for one, other in zip(true, false, strict=True):
            if one[-1] and other[-1]:
                yield one, other

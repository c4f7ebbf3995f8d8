"""Bands of curves, beside resampling by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from ttl_lightning.metrics.bands import GRID, pr_band, roc_band

RNG = np.random.default_rng(0)


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray]:
    positive = RNG.random(200) < 0.4
    return positive + 1.2 * RNG.normal(size=200), positive


def by_hand(scores, positive, curve, count=400):
    found = []
    for _ in range(count):
        rows = RNG.integers(0, len(scores), len(scores))
        found.append(curve(scores[rows], positive[rows]))
    return np.quantile(found, (0.025, 0.975), axis=0)


def test_roc(case) -> None:
    def curve(scores, positive):
        false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
        return np.interp(GRID, false, true)

    low, high = roc_band(*case)
    expected = by_hand(*case, curve)
    np.testing.assert_allclose((low, high), expected, atol=0.08)
    whole = curve(*case)
    inside = (low - 1e-9 <= whole) & (whole <= high + 1e-9)
    assert inside.mean() > 0.9


def test_precision(case) -> None:
    def curve(scores, positive):
        precision, recall, _ = precision_recall_curve(positive, scores)
        reached = [precision[:-1][recall[:-1] >= at - 1e-12][-1] for at in GRID]
        return np.array(reached)

    low, high = pr_band(*case)
    expected = by_hand(*case, curve)
    known = slice(10, None)  # the precision of the first few is one of few numbers
    np.testing.assert_allclose((low[known], high[known]), expected[:, known], atol=0.08)


def test_patients_make_it_wider(case) -> None:
    scores, positive = (np.repeat(part, 4) for part in case)
    patients = [f"p{number // 4}" for number in range(len(scores))]
    found = roc_band(scores, positive), roc_band(scores, positive, patients)
    width = [np.mean(high - low) for low, high in found]
    assert width[1] > 1.6 * width[0]


@pytest.mark.parametrize("value", [True, False])
def test_one_class_has_none(value: bool) -> None:
    assert roc_band(np.arange(4.0), np.full(4, value)) is None
    assert pr_band(np.arange(4.0), np.full(4, value)) is None

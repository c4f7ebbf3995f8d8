from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_calibration_error

from ttl_lightning.metrics.kernel import (
    calibration_error,
    cumulative_counts,
    decisions,
    ranking,
    ratio,
)


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = int(rng.integers(2, 60))
    scores = rng.random(n)
    kind = rng.integers(4)
    if kind == 1:
        scores = np.round(scores, 1)
    elif kind == 2:
        scores[:] = 0.5
    elif kind == 3:
        scores = np.sort(scores)
    positive = rng.random(n) < rng.uniform(0.1, 0.9)
    positive[:2] = [True, False]
    weights = rng.integers(0, 4, size=(3, n)).astype(float)
    weights[0] = 1
    weights[:, :2] += 1
    return scores, positive, weights


@pytest.mark.parametrize("seed", range(60))
def test_ranking_equals_scikit_learn(seed: int) -> None:
    scores, positive, weights = draw(np.random.default_rng(seed))
    table = ranking(scores, positive, weights)
    for row, weight in enumerate(weights):
        args = {"y_score": scores, "sample_weight": weight}
        assert table["auroc"][row] == pytest.approx(sk.roc_auc_score(positive, **args), abs=1e-12)
        average = sk.average_precision_score(positive, **args)
        assert table["auprc"][row] == pytest.approx(average, abs=1e-12)
        # Repeating samples is what whole-number weights mean, zero included.
        times = weight.astype(int)
        precision, recall, _ = sk.precision_recall_curve(
            positive.repeat(times), scores.repeat(times)
        )
        area = sk.auc(recall, precision)
        assert table["auprc_trapezoid"][row] == pytest.approx(area, abs=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_decisions_equal_scikit_learn(seed: int) -> None:
    scores, positive, weights = draw(np.random.default_rng(seed))
    decided = scores > 0.5
    table = decisions(decided, positive, weights)
    for row, weight in enumerate(weights):
        args = (positive, decided)
        expected = {
            "accuracy": sk.accuracy_score(*args, sample_weight=weight),
            "f1": sk.f1_score(*args, sample_weight=weight, zero_division=0),
            "sensitivity": sk.recall_score(*args, sample_weight=weight),
            "specificity": sk.recall_score(*args, sample_weight=weight, pos_label=0),
        }
        assert {key: value[row] for key, value in table.items()} == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(20))
def test_calibration_error_equals_torchmetrics(seed: int) -> None:
    scores, positive, weights = draw(np.random.default_rng(seed))
    for row, value in enumerate(calibration_error(scores, positive, weights)):
        times = weights[row].astype(int)
        expected = binary_calibration_error(
            torch.tensor(scores.repeat(times)), torch.tensor(positive.repeat(times)).int(), 15
        )
        assert value == pytest.approx(float(expected), abs=1e-6)


def test_calibration_error_keeps_one_in_the_last_bin() -> None:
    confidence = np.array([1.0, 0.96, 0.0])
    correct = np.array([True, False, False])
    error = calibration_error(confidence, correct, np.ones((1, 3)))
    assert error[0] == pytest.approx(0.96 / 3)


def test_undefined_scores_are_nan() -> None:
    scores = np.array([0.2, 0.8])
    for positive in (np.array([True, True]), np.array([False, False])):
        assert all(np.isnan(v[0]) for v in ranking(scores, positive, np.ones((1, 2))).values())
    none = ranking(np.zeros(0), np.zeros(0, dtype=bool), np.ones((2, 0)))
    assert all(np.isnan(value).all() and len(value) == 2 for value in none.values())
    table = decisions(scores > 0.5, np.array([False, False]), np.ones((1, 2)))
    assert np.isnan(table["f1"][0])
    assert np.isnan(table["sensitivity"][0])
    assert table["specificity"][0] == 0.5


def test_cumulative_counts_treat_ties_as_one() -> None:
    true, false, thresholds = cumulative_counts(
        np.array([0.5, 0.9, 0.5]), np.array([True, False, False]), np.ones((1, 3))
    )
    np.testing.assert_array_equal(thresholds, [0.9, 0.5])
    np.testing.assert_array_equal(true, [[0, 1]])
    np.testing.assert_array_equal(false, [[1, 2]])


def test_ratio_of_nothing() -> None:
    np.testing.assert_array_equal(ratio(np.array([1.0, 1.0]), np.array([2.0, 0.0])), [0.5, np.nan])

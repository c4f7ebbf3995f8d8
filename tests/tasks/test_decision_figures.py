"""Counts and reliability, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import confusion_matrix

from ttl_lightning.metrics.calibration import scaled
from ttl_lightning.metrics.class_predictions import Predictions
from ttl_lightning.metrics.kernel import ECE_BINS, calibration_error
from ttl_lightning.tasks.contact_sheet import worst
from ttl_lightning.tasks.decision_figures import (
    confusion_figure,
    confusions,
    reliability,
    reliability_figure,
    spoken_of,
)

RNG = np.random.default_rng(0)


def made(classes: int, n: int = 200) -> Predictions:
    shares = RNG.dirichlet(np.ones(classes), n)
    labels = np.array([RNG.choice(classes, p=row) for row in shares])
    return Predictions(np.arange(n), shares, labels)


def test_binary_has_two_squares_that_are_scikit_learns() -> None:
    table = made(2)
    found = confusions(table, "binary", ("no", "yes"), {"yes": 0.3})
    assert list(found) == ["above 0.5", "above 0.3, the operating point"]
    for counts, at in zip(found.values(), (0.5, 0.3), strict=True):
        expected = confusion_matrix(table.labels, table.probabilities[:, 1] > at)
        np.testing.assert_array_equal(counts, expected)


def test_several_classes_are_the_likeliest() -> None:
    table = made(4)
    (counts,) = confusions(table, "multiclass", tuple("abcd"), {}).values()
    expected = confusion_matrix(table.labels, table.probabilities.argmax(1))
    np.testing.assert_array_equal(counts, expected)


def test_of_several_labels_what_is_not_known_counts_nowhere() -> None:
    shares = RNG.random((50, 2))
    labels = (shares > 0.5).astype(np.float32)
    labels[:10, 1] = np.nan
    table = Predictions(np.arange(50), shares, labels)
    found = list(confusions(table, "multilabel", ("a", "b"), {"b": 0.8}).values())
    assert [counts.sum() for counts in found] == [50, 40]
    np.testing.assert_array_equal(found[1], confusion_matrix(labels[10:, 1], shares[10:, 1] > 0.8))


def test_the_squares_have_a_colour_bar_and_their_counts() -> None:
    table = made(3)
    figure = confusion_figure(table, "multiclass", ("a", "b", "c"), {})
    panel, bar = figure.axes
    assert bar.get_ylabel() == "share of the true class"
    counts = confusion_matrix(table.labels, table.probabilities.argmax(1))
    assert [text.get_text() for text in panel.texts] == [str(n) for n in counts.flatten()]


def test_reliability_is_scikit_learns_and_adds_up_to_the_calibration_error() -> None:
    table = made(2, 500)
    confidence, correct = spoken_of(table.probabilities, table, "binary")
    means, shares, counts = reliability(confidence, correct)
    true, predicted = calibration_curve(table.labels, table.probabilities[:, 1], n_bins=ECE_BINS)
    np.testing.assert_allclose(means, predicted)
    np.testing.assert_allclose(shares, true)
    error = np.abs(means - shares) @ counts[counts > 0] / len(confidence)
    expected = calibration_error(confidence, correct, np.ones((1, 500)))[0]
    assert error == pytest.approx(expected)


def test_the_scaled_line_is_drawn_where_there_is_a_temperature() -> None:
    table = made(3)
    (axes, _) = reliability_figure(table, "multiclass", 2.0).axes
    assert len(axes.lines) == 3
    after = spoken_of(scaled(table.probabilities, 2.0, "multiclass"), table, "multiclass")
    np.testing.assert_allclose(axes.lines[2].get_ydata(), reliability(*after)[1])
    assert len(reliability_figure(table, "multiclass", None).axes[0].lines) == 2


def test_the_worst_come_first_and_what_is_unknown_does_not_come() -> None:
    assert worst([0.1, 0.9, float("nan"), 0.9], [3, 2, 1, 0], most=3) == [3, 1, 0]

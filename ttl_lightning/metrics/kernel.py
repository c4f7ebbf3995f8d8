"""Scores of one class against the rest, for many weightings of the same samples at once.

A row of weights is one way to count the samples: all ones for the data as they are, or how often a
bootstrap resample drew each of them. The sort and the bins, which do not depend on the weights, are
made once for all rows. An undefined score is NaN here; `metrics.score` gives the reason.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

ECE_BINS = 15


def ratio(numerator: Floats, denominator: Floats, empty: float = np.nan) -> Floats:
    """Divide elementwise; `empty` where the denominator is zero."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), empty)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


def cumulative_counts(
    scores: Floats, positive: Bools, weights: Floats
) -> tuple[Floats, Floats, Floats]:
    """Count what lies at or above each distinct score, from the highest score down.

    Args:
        scores: one score a sample, (n,).
        positive: whether a sample is of the class, (n,).
        weights: (rows, n), not negative.

    Returns:
        true positives and false positives, (rows, thresholds), and the thresholds themselves;
        samples of equal score pass a threshold together, so ties have no order.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(ordered)), max(len(ordered) - 1, 0))
    last_of_tie = last_of_tie[: len(ordered)]
    sorted_weights = weights[:, order]
    passed = np.cumsum(sorted_weights, axis=1)[:, last_of_tie]
    true = np.cumsum(sorted_weights * positive[order], axis=1)[:, last_of_tie]
    return true, passed - true, ordered[last_of_tie]


def ranking(scores: Floats, positive: Bools, weights: Floats) -> dict[str, Floats]:
    """Areas under the ROC curve and, in two ways, under the precision-recall curve.

    `auprc` is average precision (a sum of steps); `auprc_trapezoid` joins the curve's points by
    straight lines from (recall 0, precision 1), as the code of the TruncatedTL paper does.

    Args:
        scores: (n,).
        positive: (n,).
        weights: (rows, n).

    Returns:
        (rows,) each; NaN in rows that lack positives or negatives.
    """
    true, false, _ = cumulative_counts(scores, positive, weights)
    if not len(scores):
        return {key: np.full(len(weights), np.nan) for key in ("auroc", "auprc", "auprc_trapezoid")}
    positives, negatives = true[:, -1], false[:, -1]
    precision = ratio(true, true + false, empty=1.0)
    gained = np.diff(true, axis=1, prepend=0.0)
    before = np.concatenate([np.ones((len(weights), 1)), precision[:, :-1]], axis=1)
    area = (np.diff(false, axis=1, prepend=0.0) * (true - gained / 2)).sum(axis=1)
    both = np.where(negatives > 0, positives, 0.0)
    return {
        "auroc": ratio(area, both * negatives),
        "auprc": ratio((gained * precision).sum(axis=1), both),
        "auprc_trapezoid": ratio((gained * (precision + before)).sum(axis=1) / 2, both),
    }


def decisions(decided: Bools, positive: Bools, weights: Floats) -> dict[str, Floats]:
    """Accuracy, F1, sensitivity and specificity of yes/no decisions.

    Args:
        decided: whether the model says yes, (n,).
        positive: whether it should, (n,).
        weights: (rows, n).

    Returns:
        (rows,) each; NaN in rows that lack the samples it is a share of (F1: that lack positives).
    """
    true_positive = weights @ (decided & positive)
    positives = weights @ positive.astype(np.float64)
    total = weights.sum(axis=1)
    negatives = total - positives
    true_negative = negatives - weights @ (decided & ~positive)
    said_yes = weights @ decided.astype(np.float64)
    f1 = ratio(2 * true_positive, said_yes + positives)
    return {
        "accuracy": ratio(true_positive + true_negative, total),
        "f1": np.where(positives > 0, f1, np.nan),
        "sensitivity": ratio(true_positive, positives),
        "specificity": ratio(true_negative, negatives),
    }


def calibration_error(confidence: Floats, correct: Bools, weights: Floats) -> Floats:
    """Expected calibration error over 15 bins of equal width, [a, b) and the last one closed.

    Args:
        confidence: probabilities, (n,).
        correct: whether what the probability speaks of came true, (n,).
        weights: (rows, n).

    Returns:
        (rows,): the mean over samples of their bin's |mean confidence - share correct|.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3.
    """
    inner_edges = np.linspace(0.0, 1.0, ECE_BINS + 1)[1:-1]
    gaps = np.zeros((len(confidence), ECE_BINS))
    gaps[np.arange(len(confidence)), np.digitize(confidence, inner_edges)] = confidence - correct
    return ratio(np.abs(weights @ gaps).sum(axis=1), weights.sum(axis=1))

"""Thresholds beside scikit-learn's curves, on which every one is tried."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_curve

from ttl_lightning.errors import ConfigError
from ttl_lightning.metrics.operating import (
    Rule,
    decided,
    decided_scores,
    operating_point,
    threshold,
)

RNG = np.random.default_rng(0)
POSITIVE = RNG.random(400) < 0.3
SCORES = np.round(np.clip(RNG.normal(0.35 + 0.25 * POSITIVE, 0.15), 0, 1), 2)  # with ties


def said(at: float) -> np.ndarray:
    return at < SCORES


def test_youden_is_the_best_of_scikit_learns_roc_curve() -> None:
    false, true, _ = roc_curve(POSITIVE, SCORES, drop_intermediate=False)
    at = threshold(Rule.of("youden"), SCORES, POSITIVE)
    (tn, fp), (fn, tp) = confusion_matrix(POSITIVE, said(at))
    assert tp / (tp + fn) + tn / (tn + fp) - 1 == pytest.approx((true - false).max())


def test_f1_is_the_best_of_all_thresholds() -> None:
    every = [f1_score(POSITIVE, at < SCORES) for at in np.linspace(-0.005, 0.995, 101)]
    at = threshold(Rule.of("f1"), SCORES, POSITIVE)
    assert f1_score(POSITIVE, said(at)) == pytest.approx(max(every))


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 1.0])
def test_a_sensitivity_is_reached_and_no_higher_threshold_would(wanted: float) -> None:
    at = threshold(Rule.of(f"sensitivity:{wanted}"), SCORES, POSITIVE)
    assert recall_score(POSITIVE, said(at)) >= wanted
    higher = SCORES[said(at)].min()
    assert recall_score(POSITIVE, higher < SCORES) < wanted


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95, 1.0])
def test_a_specificity_is_reached_and_no_lower_threshold_would(wanted: float) -> None:
    at = threshold(Rule.of(f"specificity:{wanted}"), SCORES, POSITIVE)
    assert recall_score(~POSITIVE, ~said(at)) >= wanted
    lower = SCORES[~said(at)].max()
    below = SCORES[lower > SCORES].max(initial=-1)
    assert recall_score(~POSITIVE, below >= SCORES) < wanted


def test_a_threshold_lies_between_scores() -> None:
    for rule in ("youden", "f1", "sensitivity:0.9", "specificity:0.9"):
        at = threshold(Rule.of(rule), SCORES, POSITIVE)
        assert np.abs(SCORES - at).min() > 1e-3


def test_neighbouring_floats_are_told_apart() -> None:
    low = 0.5
    high = np.nextafter(low, 1)
    at = threshold(Rule.of("youden"), np.array([low, high]), np.array([False, True]))
    assert (np.array([low, high]) > at).tolist() == [False, True]


def test_of_one_kind_alone_there_is_none() -> None:
    assert threshold(Rule.of("youden"), SCORES, np.ones(400, bool)) is None
    assert threshold(Rule.of("0.3"), SCORES, np.ones(400, bool)) == 0.3


def test_the_point_is_chosen_on_validation_alone() -> None:
    both = np.stack([1 - SCORES, SCORES], 1)
    half, rest = slice(0, 200), slice(200, 400)
    splits = {
        name: SimpleNamespace(probabilities=both[part], labels=POSITIVE[part].astype(np.int64))
        for name, part in (("val", half), ("test", rest))
    }
    found = operating_point("youden", splits, "binary", ("no", "yes"))
    at = found["thresholds"]["yes"]
    assert at == threshold(Rule.of("youden"), SCORES[half], POSITIVE[half])
    (tn, fp), (fn, tp) = confusion_matrix(POSITIVE[rest], SCORES[rest] > at)
    assert found["test"] == pytest.approx(
        {
            "accuracy": (tp + tn) / 200,
            "f1": 2 * tp / (2 * tp + fp + fn),
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
        }
    )
    assert operating_point("youden", splits, "multiclass", ("no", "yes")) == {}


def test_labels_have_a_threshold_each_and_what_is_not_labelled_does_not_count() -> None:
    labels = np.stack([POSITIVE, ~POSITIVE], 1).astype(np.float64)
    labels[::7, 0] = np.nan
    table = SimpleNamespace(probabilities=np.stack([SCORES, 1 - SCORES], 1), labels=labels)
    found = operating_point("f1", {"val": table, "test": table}, "multilabel", ("a", "b"))
    known = ~np.isnan(labels[:, 0])
    first = threshold(Rule.of("f1"), SCORES[known], POSITIVE[known])
    assert found["thresholds"]["a"] == first
    yes = decided(table.probabilities, found["thresholds"], "multilabel", ("a", "b"))
    by_label = [
        f1_score(labels[known, 0], yes[known, 0]),
        f1_score(labels[:, 1], yes[:, 1]),
    ]
    assert found["test"]["f1"] == pytest.approx(np.mean(by_label))


def test_a_half_is_what_the_plain_metrics_are_at() -> None:
    both = np.stack([1 - SCORES, SCORES], 1)
    labels = POSITIVE.astype(np.int64)
    found = decided_scores(both, labels, {"yes": 0.5}, "binary", ("no", "yes"))
    assert found["sensitivity"] == pytest.approx(recall_score(POSITIVE, SCORES > 0.5))


@pytest.mark.parametrize(
    ("text", "said_of_it"),
    [
        ("yoden", "did you mean 'youden'"),
        ("recall:0.9", "unknown task.threshold"),
        ("sensitivity:1.2", "from 0 to 1"),
        ("1.5", "from 0 to 1"),
        ("sensitivity:", "unknown task.threshold"),
    ],
)
def test_mistakes(text: str, said_of_it: str) -> None:
    with pytest.raises(ConfigError, match=said_of_it):
        Rule.of(text)

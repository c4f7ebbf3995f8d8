"""From probabilities to decisions: the threshold that a rule chooses, and what it comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ttl_lightning.errors import UnknownNameError, check_number
from ttl_lightning.metrics.classification import Labels, check_predictions
from ttl_lightning.metrics.kernel import Bools, Floats, cumulative_counts, decisions

RULES = ("youden", "f1", "0.5", "sensitivity:0.95", "specificity:0.95")
"""How the threshold is chosen; of the last two, and of 0.5, any other number will do."""
RULE = "youden"
HALF = 0.5
DECIDED = ("accuracy", "f1", "sensitivity", "specificity")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a threshold is to reach.

    Attributes:
        kind: "youden", "f1", "fixed", "sensitivity" or "specificity".
        value: the fixed threshold, or the least sensitivity or specificity.
    """

    kind: str
    value: float = math.nan

    @classmethod
    def of(cls, text: str) -> Rule:
        """As it is written in a configuration, one of `RULES` or like them.

        Raises:
            UnknownNameError: for another.
            ConfigError: for a number that is not between 0 and 1.
        """
        name, colon, number = str(text).partition(":")
        if name in ("youden", "f1") and not colon:
            return cls(name)
        kind, number = (name, number) if colon else ("fixed", name)
        try:
            value = float(number)
        except ValueError:
            kind, value = "", math.nan
        if kind not in ("fixed", "sensitivity", "specificity"):
            raise UnknownNameError("task.threshold", text, RULES)
        check_number("task.threshold", value, 0, 1)
        return cls(kind, value)


def threshold(rule: Rule, scores: Floats, positive: Bools) -> float | None:
    """What scores must be above for a yes; None where samples of one kind are lacking.

    It lies in the middle between two scores, so that it hangs on no last digit. Youden's index is
    sensitivity + specificity - 1; of thresholds that do equally well, the one nearest 0.5 is taken.
    "sensitivity" takes the highest one that reaches it, "specificity" the lowest.

    Args:
        rule: what is to be reached.
        scores: (n,), probabilities.
        positive: (n,).

    Source: Youden, Index for rating diagnostic tests, Cancer 3 (1950) 32-35.
    """
    if rule.kind == "fixed":
        return rule.value
    if positive.all() or not positive.any():
        return None
    (true,), (false,), values = cumulative_counts(scores, positive, np.ones((1, len(scores))))
    # a threshold above all scores, then one below each of the values, which descend
    true, false = np.append(0.0, true), np.append(0.0, false)
    above, below = np.append(1.0, values), np.append(values, 0.0)
    middles = below + (above - below) / 2
    middles = np.where(middles >= above, below, middles)
    sensitivity, specificity = true / true[-1], 1 - false / false[-1]
    if rule.kind == "sensitivity":
        return float(middles[np.flatnonzero(sensitivity >= rule.value)[0]])
    if rule.kind == "specificity":
        return float(middles[np.flatnonzero(specificity >= rule.value)[-1]])
    worth = sensitivity + specificity
    if rule.kind == "f1":
        worth = 2 * true / (true + false + true[-1])
    best = middles[np.isclose(worth, worth.max(), rtol=0, atol=1e-12)]
    return float(best[np.abs(best - HALF).argmin()])


def thresholds(
    rule: Rule, probabilities: Floats, labels: Labels, task: str, class_names: Sequence[str]
) -> dict[str, float]:
    """By class: binary of class 1, multilabel of each, multiclass none (the likeliest is taken).

    A label of which one kind of samples is lacking has 0.5.

    Args:
        rule: what is to be reached.
        probabilities: (n, classes).
        labels: as `check_predictions` takes them.
        task: "binary", "multiclass" or "multilabel".
        class_names: one a column.
    """
    found = {}
    targets = check_predictions(probabilities, labels, task)
    for index in _decided_classes(task, class_names):
        known = ~np.isnan(targets[:, index])
        chosen = threshold(rule, probabilities[known, index], targets[known, index] == 1)
        found[class_names[index]] = HALF if chosen is None else chosen
    return found


def decided(
    probabilities: Floats, at: Mapping[str, float], task: str, class_names: Sequence[str]
) -> Bools:
    """Which classes are said of each sample, (n, classes): above their thresholds, or likeliest."""
    if task == "multiclass":
        return np.asarray(np.eye(len(class_names))[probabilities.argmax(axis=1)], np.bool_)
    lowest = np.array([at.get(name, HALF) for name in class_names])
    yes = np.asarray(probabilities > lowest, np.bool_)
    return yes if task == "multilabel" else np.stack([~yes[:, 1], yes[:, 1]], axis=1)


def decided_scores(
    probabilities: Floats,
    labels: Labels,
    at: Mapping[str, float],
    task: str,
    class_names: Sequence[str],
) -> dict[str, float | None]:
    """`DECIDED` at thresholds: of class 1, or the mean over the labels present."""
    targets = check_predictions(probabilities, labels, task)
    said = decided(probabilities, at, task, class_names)
    columns = []
    for index in _decided_classes(task, class_names):
        known = ~np.isnan(targets[:, index])
        positive = targets[known, index] == 1
        if task == "multilabel" and not positive.any():
            continue
        one = decisions(said[known, index], positive, np.ones((1, int(known.sum()))))
        columns.append([float(one[key][0]) for key in DECIDED])
    values = np.array(columns).reshape(-1, len(DECIDED))
    means = {}
    for key, column in zip(DECIDED, values.T, strict=True):
        finite = column[np.isfinite(column)]
        means[key] = float(finite.mean()) if len(finite) else None
    return means


def operating_point(
    text: str, splits: Mapping[str, Any], task: str, class_names: Sequence[str]
) -> dict[str, Any]:
    """What a result keeps: the rule, thresholds chosen on validation, and both splits at them.

    Args:
        text: the rule, as `Rule.of` takes it.
        splits: `val`, by which it is chosen, and `test`: with `probabilities` and `labels`.
        task: "binary", "multiclass" or "multilabel".
        class_names: one a column.

    Returns:
        Nothing in multiclass tasks, or where there are no finite probabilities.
    """
    finite = all(np.isfinite(table.probabilities).all() for table in splits.values())
    if task == "multiclass" or "val" not in splits or not finite:
        return {}
    val = splits["val"]
    at = thresholds(Rule.of(text), val.probabilities, val.labels, task, class_names)
    scored = {
        split: decided_scores(table.probabilities, table.labels, at, task, class_names)
        for split, table in splits.items()
    }
    return {"rule": text, "thresholds": at, **scored}


def _decided_classes(task: str, class_names: Sequence[str]) -> Sequence[int]:
    if task == "multiclass":
        return ()
    return (1,) if task == "binary" else range(len(class_names))

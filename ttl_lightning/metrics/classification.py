"""What a classifier's predictions are worth: every metric's name and its definition.

- `auroc`, `auprc` (average precision), `auprc_trapezoid`, `f1`, `sensitivity`, `specificity`: a
  class against the rest. Binary: class 1. Multiclass and multilabel: the mean over the classes
  present, and one `<metric>/<class>` each.
- `accuracy`: the share of samples whose likeliest class is right; multilabel: as above, by label.
- `ece`: calibration of class 1 (binary), of the likeliest (multiclass), by label (multilabel).
- `n_classes_scored`: how many classes have at least one sample.

A yes is a class that is the likeliest one, or in multilabel a probability above one half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ttl_lightning.errors import DataError, check_choice
from ttl_lightning.metrics.kernel import Bools, Floats, calibration_error, decisions, ranking, ratio
from ttl_lightning.metrics.scores import Scores

TASKS = ("binary", "multiclass", "multilabel")
METRICS = (
    "auroc",
    "auprc",
    "auprc_trapezoid",
    "accuracy",
    "f1",
    "sensitivity",
    "specificity",
    "ece",
)
CLASSES_SCORED = "n_classes_scored"
# Against the rest these two would look better the more classes there are.
NOT_PER_CLASS = {"binary": METRICS, "multiclass": ("accuracy", "ece"), "multilabel": ()}

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float32] | Floats


def metric_keys(task: str, class_names: Sequence[str]) -> tuple[str, ...]:
    """Every key that `score` gives, in its order.

    Raises:
        UnknownNameError: the task is not one of `TASKS`.
    """
    check_choice("task", task, TASKS)
    by_class = [m for m in METRICS if m not in NOT_PER_CLASS[task]]
    return (*METRICS, *(f"{m}/{name}" for m in by_class for name in class_names), CLASSES_SCORED)


def score(probabilities: Floats, labels: Labels, task: str, class_names: Sequence[str]) -> Scores:
    """Score the predictions for one split.

    Args:
        probabilities: (n, classes); binary has two columns.
        labels: class indices (n,), or in multilabel 0, 1 or NaN for not labelled, (n, classes).
        task: "binary", "multiclass" or "multilabel".
        class_names: one for each column.

    Raises:
        UnknownNameError: the task is not one of `TASKS`.
        DataError: shapes or labels that do not fit, or numbers outside [0, 1] for probabilities.
    """
    keys = metric_keys(task, class_names)
    if probabilities.shape[1:] != (len(class_names),):
        raise DataError(
            f"probabilities must be (n, {len(class_names)}), one column for each of "
            f"{', '.join(class_names)}; got {probabilities.shape}."
        )
    targets = check_predictions(probabilities, labels, task)
    problem = _unusable(probabilities)
    if problem:
        return Scores(dict.fromkeys(keys, None), dict.fromkeys(keys, problem))
    plain, by_class = weighted_scores(probabilities, labels, task, np.ones((1, len(labels))))
    values: dict[str, float | None] = {key: _defined(plain[key][0]) for key in METRICS}
    for metric in METRICS:
        if metric not in NOT_PER_CLASS[task]:
            for name, value in zip(class_names, by_class[metric][0], strict=True):
                values[f"{metric}/{name}"] = _defined(value)
    positives = (targets == 1).sum(axis=0)
    absent = [name for name, count in zip(class_names, positives, strict=True) if not count]
    values[CLASSES_SCORED] = len(class_names) - len(absent)
    notes = _reasons(values, targets, class_names)
    if absent:
        notes[CLASSES_SCORED] = f"no sample of {', '.join(absent)} among the {len(labels)}"
    return Scores({key: values[key] for key in keys}, notes)


def check_predictions(probabilities: Floats, labels: Labels, task: str) -> Floats:
    """Check that labels and probabilities fit each other, and spread the labels over the classes.

    Returns:
        (n, classes): 1 for the class, 0 for the others, NaN where not labelled.

    Raises:
        DataError: shapes or labels that do not fit, or numbers outside [0, 1] for probabilities.
    """
    samples, classes = probabilities.shape
    expected = (samples, classes) if task == "multilabel" else (samples,)
    if labels.shape != expected:
        raise DataError(f"labels of a {task} task must be {expected}, got {labels.shape}.")
    outside = (probabilities < 0) | (probabilities > 1 + 1e-6)
    if np.any(outside & np.isfinite(probabilities)):
        given = probabilities[outside][0]
        raise DataError(f"probabilities must lie in [0, 1], got {given:g}: are these logits?")
    if task == "multilabel":
        allowed = np.isnan(labels) | (labels == 0) | (labels == 1)
        rule = "0, 1, or NaN for not labelled"
    else:
        allowed = np.isin(labels, np.arange(classes))
        rule = f"class indices from 0 to {classes - 1}"
    if not allowed.all():
        raise DataError(f"labels of a {task} task must be {rule}, got {labels[~allowed][0]:g}.")
    if task == "multilabel":
        return labels.astype(np.float64)
    return np.eye(classes)[labels.astype(np.int64)]


def weighted_scores(
    probabilities: Floats, labels: Labels, task: str, weights: Floats
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Score under each row of weights; NaN where undefined.

    Args:
        probabilities: finite, (n, classes).
        labels: as `score` takes them.
        task: one of `TASKS`.
        weights: (rows, n).

    Returns:
        the plain metrics, (rows,) each, and those of each class, (rows, classes) each.
    """
    likeliest = probabilities.argmax(axis=1)
    if task == "binary":
        table = _against_rest(probabilities[:, 1], labels == 1, likeliest == 1, weights)
        return table, {}
    columns: list[dict[str, Floats]] = []
    for index in range(probabilities.shape[1]):
        scores = probabilities[:, index]
        if task == "multilabel":
            known = ~np.isnan(labels[:, index])
            positive, counted = labels[known, index] == 1, weights[:, known]
            column = _against_rest(scores[known], positive, scores[known] > 0.5, counted)
        else:
            positive, counted = labels == index, weights
            column = _against_rest(scores, positive, likeliest == index, counted)
        absent = counted @ positive.astype(np.float64) == 0
        columns.append({key: np.where(absent, np.nan, value) for key, value in column.items()})
    by_class = {key: np.stack([column[key] for column in columns], axis=1) for key in METRICS}
    plain = {key: _mean_of_defined(value) for key, value in by_class.items()}
    if task == "multiclass":
        right = likeliest == labels
        plain["accuracy"] = ratio(weights @ right.astype(np.float64), weights.sum(axis=1))
        plain["ece"] = calibration_error(probabilities.max(axis=1), right, weights)
    return plain, by_class


def _against_rest(
    scores: Floats, positive: Bools, decided: Bools, weights: Floats
) -> dict[str, Floats]:
    table = ranking(scores, positive, weights) | decisions(decided, positive, weights)
    table["ece"] = calibration_error(scores, positive, weights)
    return table


def _mean_of_defined(values: Floats) -> Floats:
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))


def _defined(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None


def _unusable(probabilities: Floats) -> str:
    if not len(probabilities):
        return "there are no samples"
    broken = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if broken:
        return f"{broken} of {len(probabilities)} samples have probabilities that are not finite"
    return ""


def _reasons(
    values: dict[str, float | None], targets: Floats, class_names: Sequence[str]
) -> dict[str, str]:
    counts = {
        name: (int((column == 1).sum()), int((column == 0).sum()))
        for name, column in zip(class_names, targets.T, strict=True)
    }
    summary = ", ".join(f"{positive} of {name}" for name, (positive, _) in counts.items())
    notes: dict[str, str] = {}
    for key, value in values.items():
        if value is None:
            name = key.partition("/")[2]
            positive, negative = counts.get(name, (0, 0))
            notes[key] = (
                f"undefined with {positive} positive and {negative} negative samples"
                if name
                else f"undefined with the classes present: {summary}"
            )
    return notes

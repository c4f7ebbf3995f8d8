"""How well a linear classifier does on the pooled features of each unit.

Source: Alain and Bengio, Understanding Intermediate Layers Using Linear Classifier Probes, ICLR
2017 workshop.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ttl_lightning.errors import DataError, check_choice
from ttl_lightning.metrics.classification import TASKS
from ttl_lightning.metrics.kernel import Floats
from ttl_lightning.models.backbones.base import Backbone
from ttl_lightning.models.probes import pooled_features
from ttl_lightning.tasks.classification_report import CLASSIFICATION

METRICS = {"auroc": roc_auc_score, "auprc": average_precision_score}
LABELS = {name: CLASSIFICATION.metric(name).label for name in METRICS}
# the penalty is chosen by what everything else is, and units are compared by it
CHOSEN_BY = CLASSIFICATION.primary
# Strongest first. The weight of half the squared coefficients beside the mean cross-entropy, so
# that it means the same whatever the number of samples.
PENALTIES = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)
MAX_ITERATIONS = 1000

Labels = npt.NDArray[Any]


class Labelled(NamedTuple):
    """The samples of one split.

    Attributes:
        features: (n, C).
        labels: class indices (n,), or in multilabel 0, 1 or NaN for not labelled, (n, classes).
    """

    features: Floats
    labels: Labels


class Linear(NamedTuple):
    """A linear classifier.

    Attributes:
        weight: (columns, C); one column for class 1 (binary), else one a class or label. Rows of
            classes that train does not tell apart are NaN.
        bias: (columns,), likewise.
    """

    weight: Floats
    bias: Floats

    def of_unscaled(self, scaler: StandardScaler) -> Linear:
        """The same of the features as they were before they were standardised."""
        weight = self.weight / scaler.scale_
        return Linear(weight, self.bias - weight @ scaler.mean_)

    def probabilities(self, features: Floats, task: str) -> Floats:
        """(n, columns); NaN where a class cannot be learned."""
        logits = features @ self.weight.T + self.bias
        if task != "multiclass":
            return np.asarray(expit(logits), np.float64)
        known = np.isfinite(self.bias)
        logits[:, known] = softmax(logits[:, known], axis=1)
        return np.asarray(logits, np.float64)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a linear classifier reaches.

    Attributes:
        metrics: `val/auroc`, `val/auprc` and those of any other split; None where undefined.
        penalty: the one of `PENALTIES` that was chosen.
        notes: by metric, which classes it leaves out (all of them, for a None); by `penalty`, what
            the solver complained of.
        classifier: that of the chosen penalty, of the features as they came.
    """

    metrics: dict[str, float | None]
    penalty: float
    notes: dict[str, str]
    classifier: Linear = field(compare=False, repr=False)

    @property
    def score(self) -> float | None:
        """What it is chosen by, on validation."""
        return self.metrics[f"val/{CHOSEN_BY}"]


def probe(splits: Mapping[str, Labelled], task: str) -> ProbeResult:
    """Fit logistic regression on standardised features, and score it.

    The penalty is the one with the highest AUPRC on validation, of several that tie the strongest;
    in multilabel it is the same for all labels. AUROC and AUPRC (average precision) are those of
    class 1 (binary), or means over classes. A class counts in a split where this and train have
    samples of it and of others. Nothing is random.

    Args:
        splits: `train`, which the classifier and the features' scales are fitted on, `val`, which
            the penalty is chosen on, and others, which are only scored.
        task: "binary", "multiclass" (one classifier for all) or "multilabel" (one a label).

    Raises:
        UnknownNameError: the task is not one of `TASKS`.
        DataError: features or labels that do not fit, or no class that counts in val.
    """
    check_choice("task", task, TASKS)
    for name, split in splits.items():
        _check(name, split, splits["train"], task)
    targets = _targets(splits, task)
    scored = [name for name in splits if name != "train"]
    missing = {name: _missing(targets, name, task) for name in scored}
    if len(missing["val"]) == targets["val"].shape[1]:
        raise DataError(
            "a probe needs a class that train and val have samples of, and of others, but "
            f"{'; '.join(missing['val'].values())}."
        )
    scaler = StandardScaler().fit(splits["train"].features)
    features = {name: scaler.transform(split.features) for name, split in splits.items()}
    results: list[ProbeResult] = []
    for penalty in PENALTIES:
        fitted, warned = _fit(features["train"], targets["train"], task, penalty)
        probabilities = {name: fitted.probabilities(features[name], task) for name in scored}
        metrics = {
            f"{name}/{metric}": _mean(of_class, targets[name], probabilities[name], missing[name])
            for name in scored
            for metric, of_class in METRICS.items()
        }
        notes = {"penalty": warned} if warned else {}
        results.append(ProbeResult(metrics, penalty, notes, fitted.of_unscaled(scaler)))
    # the first of those that tie, which has the strongest penalty
    best = max(results, key=lambda result: result.score or 0.0)
    for name in scored:
        if missing[name]:
            reason = f"left out: {'; '.join(missing[name].values())}"
            best.notes.update({f"{name}/{metric}": reason for metric in METRICS})
    return best


def probe_units(
    backbone: Backbone, splits: Mapping[str, Iterable[Mapping[str, Tensor]]], task: str
) -> dict[str, ProbeResult]:
    """Fit and score a linear classifier on every unit's pooled features, in one pass a split.

    Args:
        backbone: as for `pooled_features`.
        splits: as for `probe`, of batches with images as `image` and labels as `label`.
        task: as for `probe`.

    Raises:
        TTLError: as `pooled_features` and `probe`.
    """
    features: dict[str, dict[str, Floats]] = {}
    labels: dict[str, Labels] = {}
    for name, batches in splits.items():
        seen: list[Labels] = []
        features[name] = pooled_features(backbone, _images(batches, seen))
        labels[name] = np.concatenate(seen)
    return {
        unit: probe({name: Labelled(features[name][unit], labels[name]) for name in splits}, task)
        for unit in backbone.cutoffs
    }


def _images(batches: Iterable[Mapping[str, Tensor]], labels: list[Labels]) -> Iterator[Tensor]:
    """The images; their labels are left in the list."""
    for batch in batches:
        labels.append(batch["label"].cpu().numpy())
        yield batch["image"]


def _check(name: str, split: Labelled, train: Labelled, task: str) -> None:
    """Check that a split's features and labels fit each other, train's, and the task."""
    features, labels = split
    if features.ndim != 2 or not features.size or features.shape[1:] != train.features.shape[1:]:
        raise DataError(f"features of {name} must be (n, C), C as in train; got {features.shape}.")
    broken = int((~np.isfinite(features)).any(axis=1).sum())
    if broken:
        raise DataError(
            f"{broken} of {len(features)} samples of {name} have features that are not finite."
        )
    dims = 2 if task == "multilabel" else 1
    if labels.ndim != dims or labels.shape != (len(features), *train.labels.shape[1:]):
        shape = "(n, classes), classes as in train" if task == "multilabel" else "(n,)"
        raise DataError(
            f"labels of a {task} task must be {shape}; got {labels.shape} in {name}, which has "
            f"{len(features)} samples."
        )
    if task == "multiclass":
        allowed, rule = (labels >= 0) & (labels % 1 == 0), "class indices from 0 on"
    elif task == "binary":
        allowed, rule = np.isin(labels, (0, 1)), "0 or 1"
    else:
        allowed, rule = np.isin(labels, (0, 1)) | np.isnan(labels), "0, 1, or NaN for not labelled"
    if not allowed.all():
        given = labels[~allowed][0]
        raise DataError(f"labels of a {task} task must be {rule}; got {given:g} in {name}.")


def _targets(splits: Mapping[str, Labelled], task: str) -> dict[str, Floats]:
    """Spread the labels over the classes, (n, classes); binary has one column, that of class 1."""
    labels = {name: split.labels.astype(np.float64) for name, split in splits.items()}
    if task == "multilabel":
        return labels
    classes = range(1, 2)
    if task == "multiclass":
        classes = range(1 + int(max(given.max() for given in labels.values())))
    return {name: (given[:, None] == classes).astype(np.float64) for name, given in labels.items()}


def _missing(targets: Mapping[str, Floats], name: str, task: str) -> dict[int, str]:
    """The columns that do not count in a split, and why."""
    reasons: dict[int, str] = {}
    for split in ("train", name):
        positives, negatives = (targets[split] == 1).sum(axis=0), (targets[split] == 0).sum(axis=0)
        for column in np.flatnonzero((positives == 0) | (negatives == 0)).tolist():
            reasons.setdefault(
                column,
                f"class {column + (task == 'binary')} has {positives[column]} positive and "
                f"{negatives[column]} negative samples in {split}",
            )
    return reasons


def _fit(features: Floats, targets: Floats, task: str, penalty: float) -> tuple[Linear, str]:
    """Fit to standardised features (n, C) and targets (n, columns).

    Returns:
        the classifier, and what the solver complained of.
    """
    if task == "multiclass":
        problems = [(targets.argmax(axis=1), np.full(len(targets), fill_value=True))]
    else:
        problems = [(column, ~np.isnan(column)) for column in targets.T]
    columns = targets.shape[1]
    found = Linear(np.full((columns, features.shape[1]), np.nan), np.full(columns, np.nan))
    complaints: list[str] = []
    for index, (labels, known) in enumerate(problems):
        if len(np.unique(labels[known])) < 2:
            continue
        model = LogisticRegression(C=1 / (penalty * known.sum()), max_iter=MAX_ITERATIONS)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(features[known], labels[known])
        complaints += [str(warning.message).partition("\n")[0] for warning in caught]
        if task != "multiclass":
            rows: Any = [index]
        elif len(model.classes_) == 2:  # scikit-learn fits one row for the second of the two
            rows = model.classes_[1:]
            found.weight[model.classes_[0]], found.bias[model.classes_[0]] = 0.0, 0.0
        else:
            rows = model.classes_
        found.weight[rows], found.bias[rows] = model.coef_, model.intercept_
    return found, "; ".join(dict.fromkeys(complaints))


def _mean(
    of_class: Callable[[Floats, Floats], float],
    targets: Floats,
    probabilities: Floats,
    missing: Collection[int],
) -> float | None:
    """The mean of a metric over the classes that count, None where none does."""
    values: list[float] = []
    for column in (c for c in range(targets.shape[1]) if c not in missing):
        known = ~np.isnan(targets[:, column])
        values.append(of_class(targets[known, column], probabilities[known, column]))
    return float(np.mean(values)) if values else None

"""What a classifier says about a split, and its columns in `predictions.csv`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.classification import Labels
from ttl_lightning.metrics.kernel import Floats
from ttl_lightning.metrics.operating import decided
from ttl_lightning.metrics.paired import Scored
from ttl_lightning.metrics.predictions import Columns, numbers
from ttl_lightning.records.folder import PREDICTIONS

LABEL, LABELS, PROBABILITY, PREDICTED = "label", "label/", "probability/", "predicted"
SEVERAL = "|"
"""Between the labels that are said of one sample."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says about a split, sorted by sample id.

    Attributes:
        ids: position in the split, (n,).
        probabilities: (n, classes).
        labels: class indices (n,), or in multilabel 0, 1 or NaN, (n, classes).
    """

    ids: npt.NDArray[np.int64]
    probabilities: Floats
    labels: Labels


def class_columns(table: Predictions, names: Sequence[str]) -> dict[str, list[str]]:
    """One label (one a class if there may be several), and one probability a class."""
    if table.labels.ndim > 1:
        labels = {
            f"{LABELS}{name}": [f"{value:g}" for value in column]
            for name, column in zip(names, table.labels.T, strict=True)
        }
    else:
        labels = {LABEL: [names[int(label)] for label in table.labels]}
    return labels | _probabilities(table, names)


def answer_columns(
    table: Predictions, task: str, names: Sequence[str], at: Mapping[str, float]
) -> dict[str, list[str]]:
    """One probability a class, and what is decided: a class, or of several those that are said.

    Args:
        table: of samples whose labels nobody knows.
        task: "binary", "multiclass" or "multilabel".
        names: one a class.
        at: thresholds by class, as `metrics.operating.decided` takes them.
    """
    said = decided(table.probabilities, at, task, names)
    chosen = [SEVERAL.join(n for n, yes in zip(names, row, strict=True) if yes) for row in said]
    return _probabilities(table, names) | {PREDICTED: chosen}


def _probabilities(table: Predictions, names: Sequence[str]) -> dict[str, list[str]]:
    return {
        f"{PROBABILITY}{name}": [f"{value:.9g}" for value in column]
        for name, column in zip(names, table.probabilities.T, strict=True)
    }


def scored_classes(columns: Columns, task: object = None) -> Scored:
    """The scores and targets that the columns hold.

    Args:
        columns: those of one split, with its `id`.
        task: "binary", "multiclass" or "multilabel", as its result says; where it says nothing,
            two classes of which an image has one are a binary task.

    Raises:
        DataError: if they are no such columns.
    """
    names = [name.removeprefix(PROBABILITY) for name in columns if name.startswith(PROBABILITY)]
    scores = numbers(columns, [PROBABILITY + name for name in names], f"{PROBABILITY}…")
    if not np.isfinite(scores).all():
        raise DataError(f"{PREDICTIONS} has probabilities that are not finite.")
    targets = _targets(columns, names)
    if len(names) == 2 and LABEL in columns and task != "multiclass":
        scores, targets = scores[:, 1:], targets[:, 1:]
    return Scored(tuple(columns["id"]), scores, targets)


def _targets(columns: Columns, names: list[str]) -> Floats:
    if LABEL not in columns:
        targets = numbers(columns, [LABELS + name for name in names])
        if not np.isin(targets[~np.isnan(targets)], (0, 1)).all():
            raise DataError(f"{PREDICTIONS} has labels other than 0, 1 and nan.")
        return targets
    number = {name: index for index, name in enumerate(names)}
    unknown = sorted(set(columns[LABEL]) - number.keys())
    if unknown:
        raise DataError(f"{PREDICTIONS} has the label {unknown[0]!r}, which is no class.")
    return np.eye(len(names))[[number[name] for name in columns[LABEL]]]

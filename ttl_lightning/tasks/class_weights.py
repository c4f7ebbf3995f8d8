"""Weights of the classes in the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ttl_lightning.data.samples import Integers
from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.metrics.classification import Labels

KEY = "task.class_weights"


def class_weights(
    labels: Labels, kind: str | Sequence[float] | None, num_classes: int
) -> Tensor | None:
    """Resolve the configured class weights on the training labels.

    Args:
        labels: class indices (n,), or in multilabel 0, 1 or NaN for not labelled, (n, classes).
        kind: "balanced": n / (classes * count) for class indices, negatives / positives (the weight
            of a positive) for multilabel; a list of numbers, taken as they are; None: no weights.
        num_classes: how many weights there must be.

    Returns:
        float32, (classes,).

    Raises:
        ConfigError: another word, the wrong number of weights, or one negative or not finite.
        DataError: "balanced", and a class without a sample.
    """
    if kind == "balanced":
        return balanced(*_counts(labels, num_classes), exclusive=labels.ndim == 1)
    return checked(kind, num_classes)


def checked(kind: str | Sequence[float] | None, num_classes: int) -> Tensor | None:
    """Numbers that are given as weights; else as `class_weights`, without "balanced"."""
    if kind is None:
        return None
    allowed = f"null, balanced, or {num_classes} numbers, one for each class"
    if isinstance(kind, str):
        raise ConfigError(f"{KEY} must be {allowed}, got {kind!r}.")
    given = list(kind)
    if len(given) != num_classes:
        raise ConfigError(f"{KEY} must be {allowed}, got {len(given)}: {given}.")
    if not all(_is_weight(value) for value in given) or not any(given):
        raise ConfigError(f"{KEY} must not be negative, infinite or all zero, got {given}.")
    return torch.tensor(given, dtype=torch.float32)


def _is_weight(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= float(value) < math.inf  # type: ignore[arg-type]


def _counts(labels: Labels, num_classes: int) -> tuple[Integers, Integers]:
    """Samples of each class, and those that are known not to be of it."""
    if labels.ndim == 2:
        return (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    counts = np.bincount(labels.astype(np.int64), minlength=num_classes)
    return counts, len(labels) - counts


def balanced(counts: Integers, others: Integers, *, exclusive: bool) -> Tensor:
    """The "balanced" weights of `class_weights`, from counts of samples, or pixels.

    Args:
        counts: of each class, (classes,).
        others: that are known not to be of it, (classes,).
        exclusive: whether each is of one class.

    Raises:
        DataError: a class without any.
    """
    positives = np.maximum(counts, 1)
    weights = (counts + others) / (len(counts) * positives) if exclusive else others / positives
    if not counts.all():
        empty = ", ".join(str(index) for index in np.flatnonzero(counts == 0))
        raise DataError(
            f"{KEY}=balanced needs samples of every class in the training split; there are none of "
            f"class {empty}."
        )
    return torch.tensor(weights, dtype=torch.float32)

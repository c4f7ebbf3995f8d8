from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.tasks.class_weights import class_weights


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_balanced_equals_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = np.append(np.arange(classes), rng.integers(0, classes, 90))
    expected = compute_class_weight("balanced", classes=np.arange(classes), y=labels)
    weights = class_weights(labels, "balanced", classes)
    assert weights is not None
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_balanced_multilabel_makes_positives_weigh_as_much_as_negatives() -> None:
    labels = np.array([[1, 0], [0, 1], [0, np.nan], [0, 1]], dtype=np.float32)
    weights = class_weights(labels, "balanced", 2)
    assert weights is not None
    assert weights.tolist() == [3.0, 0.5]


def test_given_and_none() -> None:
    labels = np.array([0, 1])
    assert class_weights(labels, None, 2) is None
    given = class_weights(labels, [1.4829, 1], 2)
    assert given is not None
    assert given.tolist() == pytest.approx([1.4829, 1.0])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("balance", "null, balanced, or 2 numbers, one for each class, got 'balance'"),
        ([1.0], r"2 numbers, one for each class, got 1: \[1.0\]"),
        ([1.0, -1.0], r"not be negative, infinite or all zero, got \[1.0, -1.0\]"),
        ([1.0, float("nan")], r"not be negative, infinite or all zero, got \[1.0, nan\]"),
        ([0, 0], "all zero"),
        ([True, 1], "not be"),
    ],
)
def test_bad_weights_are_named(kind: str | list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^task.class_weights must .*{message}"):
        class_weights(np.array([0, 1]), kind, 2)


def test_balanced_without_a_class() -> None:
    with pytest.raises(DataError, match="class 1, 2"):
        class_weights(np.array([0, 0]), "balanced", 3)
    with pytest.raises(DataError, match="class 0"):
        class_weights(np.array([[0.0, 1.0], [np.nan, 0.0]]), "balanced", 2)

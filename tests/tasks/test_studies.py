from __future__ import annotations

import numpy as np
import pytest

from ttl_lightning.tasks.studies import by_study

STUDIES = np.array([2, 0, 2, 0, 5, 0])


def test_a_study_is_as_positive_as_its_most_positive_window() -> None:
    positive = np.array([0.1, 0.3, 0.7, 0.9, 0.2, 0.4])
    probabilities = np.stack([1 - positive, positive], 1)
    labels = np.array([1, 0, 1, 0, 1, 0])
    table = by_study(probabilities, STUDIES, labels, "binary")
    assert table.ids.tolist() == [0, 2, 5]
    np.testing.assert_allclose(table.probabilities, [[0.1, 0.9], [0.3, 0.7], [0.8, 0.2]])
    assert table.labels.tolist() == [0, 1, 1]


def test_each_label_has_its_own_maximum() -> None:
    probabilities = np.array([[0.1, 0.8], [0.5, 0.5], [0.3, 0.2], [0.9, 0.4], [0.6, 0.7], [0, 0]])
    labels = np.array([[1.0, 0.0], [0, 1], [1, 0], [0, 1], [np.nan, 1], [0, 1]])
    table = by_study(probabilities, STUDIES, labels, "multilabel")
    np.testing.assert_allclose(table.probabilities, [[0.9, 0.5], [0.3, 0.8], [0.6, 0.7]])
    np.testing.assert_array_equal(table.labels, [[0, 1], [1, 0], [np.nan, 1]])


@pytest.mark.parametrize("classes", [3, 5])
def test_several_classes_still_sum_to_one(classes: int) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), len(STUDIES))
    table = by_study(probabilities, STUDIES, np.zeros(len(STUDIES), np.int64), "multiclass")
    for row, study in zip(table.probabilities, table.ids, strict=True):
        highest = probabilities[study == STUDIES].max(0)
        np.testing.assert_allclose(row, highest / highest.sum())

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

from ttl_lightning.errors import DataError, UnknownNameError
from ttl_lightning.metrics.classification import METRICS, metric_keys, score

NAMES = ("a", "b", "c", "d")


def trapezoid(target: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = sk.precision_recall_curve(target, scores)
    return float(sk.auc(recall, precision))


def against_rest(target: np.ndarray, scores: np.ndarray, decided: np.ndarray) -> dict[str, float]:
    return {
        "auroc": sk.roc_auc_score(target, scores),
        "auprc": sk.average_precision_score(target, scores),
        "auprc_trapezoid": trapezoid(target, scores),
        "f1": sk.f1_score(target, decided, zero_division=0),
        "sensitivity": sk.recall_score(target, decided),
        "specificity": sk.recall_score(target, decided, pos_label=0),
    }


def draw(seed: int, classes: int, n: int = 50) -> tuple[np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * rng.choice([1, 30])
    if seed % 3 == 0:
        logits = np.round(logits)
    if seed % 5 == 4:
        logits[:] = 0
    return softmax(logits, axis=1), rng


@pytest.mark.parametrize("seed", range(20))
def test_binary_equals_scikit_learn(seed: int) -> None:
    probabilities, rng = draw(seed, 2)
    labels = np.append([0, 1], rng.integers(0, 2, 48))
    decided = probabilities.argmax(axis=1)
    expected = against_rest(labels, probabilities[:, 1], decided)
    expected["accuracy"] = sk.accuracy_score(labels, decided)
    scores = score(probabilities, labels, "binary", ("no", "yes"))
    assert scores.values["n_classes_scored"] == 2
    assert {key: scores.values[key] for key in expected} == pytest.approx(expected, abs=1e-12)
    assert not scores.notes


@pytest.mark.parametrize("seed", range(20))
def test_multiclass_leaves_absent_classes_out_of_the_mean(seed: int) -> None:
    probabilities, rng = draw(seed, 4)
    labels = np.append([0, 1, 2], rng.integers(0, 3, 47))
    decided = probabilities.argmax(axis=1)
    scores = score(probabilities, labels, "multiclass", NAMES)
    present = [
        against_rest(labels == index, probabilities[:, index], decided == index)
        for index in range(3)
    ]
    for metric in present[0]:
        mean = np.mean([table[metric] for table in present])
        assert scores.values[metric] == pytest.approx(mean, abs=1e-12)
        for name, table in zip(NAMES, present, strict=False):
            assert scores.values[f"{metric}/{name}"] == pytest.approx(table[metric], abs=1e-12)
        assert scores.values[f"{metric}/d"] is None
        assert "0 positive and 50 negative" in scores.notes[f"{metric}/d"]
    assert scores.values["n_classes_scored"] == 3
    assert scores.notes["n_classes_scored"] == "no sample of d among the 50"
    assert scores.values["accuracy"] == pytest.approx(sk.accuracy_score(labels, decided))
    if probabilities.max() < 1:
        ece = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(labels), 4, 15)
        assert scores.values["ece"] == pytest.approx(float(ece), abs=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_multilabel_skips_what_is_not_labelled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = np.round(rng.random((60, 4)), 2)
    labels = rng.integers(0, 2, (60, 4)).astype(np.float32)
    labels[rng.random((60, 4)) < 0.3] = np.nan
    labels[:2] = [[0, 1, 0, 0], [1, 0, 1, 1]]
    labels[:, 3] = np.where(np.isnan(labels[:, 3]), np.nan, 1.0)  # never negative
    scores = score(probabilities, labels, "multilabel", NAMES)
    tables = []
    for index in range(3):
        known = ~np.isnan(labels[:, index])
        target, given = labels[known, index], probabilities[known, index]
        table = against_rest(target, given, given > 0.5)
        table["accuracy"] = sk.accuracy_score(target, given > 0.5)
        tables.append(table)
        for metric, value in table.items():
            assert scores.values[f"{metric}/{NAMES[index]}"] == pytest.approx(value, abs=1e-12)
    assert scores.values["auroc/d"] is None
    assert scores.values["specificity/d"] is None
    assert scores.values["auroc"] == pytest.approx(np.mean([t["auroc"] for t in tables]))
    recall_d = np.mean(probabilities[~np.isnan(labels[:, 3]), 3] > 0.5)
    mean = np.mean([*(t["sensitivity"] for t in tables), recall_d])
    assert scores.values["sensitivity"] == pytest.approx(mean)
    assert scores.values["n_classes_scored"] == 4


def test_large_logits_keep_their_order_in_float64() -> None:
    logits = np.array([[0.0, 20.0], [0.0, 25.0], [0.0, 30.0], [0.0, 22.0]])
    labels = np.array([0, 1, 1, 0])
    assert score(softmax(logits, axis=1), labels, "binary", ("n", "p")).values["auroc"] == 1.0


@pytest.mark.parametrize("label", [0, 1])
def test_single_class_is_null_with_a_reason(label: int) -> None:
    probabilities = np.array([[0.3, 0.7], [0.6, 0.4]])
    scores = score(probabilities, np.full(2, label), "binary", ("no", "yes"))
    for key in ("auroc", "auprc", "auprc_trapezoid"):
        assert scores.values[key] is None
        assert scores.notes[key].startswith("undefined with the classes present: ")
    assert scores.values["accuracy"] == 0.5
    assert scores.values["n_classes_scored"] == 1
    assert (scores.values["sensitivity"] is None) == (label == 0)
    assert (scores.values["specificity"] is None) == (label == 1)
    assert set(scores.notes) - {"n_classes_scored"} == {
        key for key, value in scores.values.items() if value is None
    }


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_non_finite_probabilities_are_all_null(bad: float, task: str) -> None:
    probabilities = np.array([[0.3, 0.7], [0.6, bad], [0.5, 0.5]])
    labels = np.eye(2, dtype=np.float32)[[0, 1, 0]] if task == "multilabel" else np.array([0, 1, 0])
    scores = score(probabilities, labels, task, ("no", "yes"))
    assert set(scores.values) == set(metric_keys(task, ("no", "yes")))
    assert all(value is None for value in scores.values.values())
    assert set(scores.notes.values()) == {"1 of 3 samples have probabilities that are not finite"}


def test_no_samples_are_all_null() -> None:
    scores = score(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), "binary", ("no", "yes"))
    assert set(scores.values.values()) == {None}
    assert scores.notes["auroc"] == "there are no samples"


def test_keys() -> None:
    assert metric_keys("binary", ("no", "yes")) == (*METRICS, "n_classes_scored")
    several = metric_keys("multiclass", NAMES)
    assert "auroc/a" in several
    assert "accuracy/a" not in several
    assert "accuracy/a" in metric_keys("multilabel", NAMES)


def test_errors_say_what_was_given() -> None:
    probabilities, labels = np.full((2, 2), 0.5), np.array([0, 1])
    with pytest.raises(UnknownNameError, match="unknown task 'binry'; did you mean 'binary'"):
        score(probabilities, labels, "binry", ("no", "yes"))
    with pytest.raises(DataError, match=r"must be \(n, 3\), one column for each of a, b, c; got"):
        score(probabilities, labels, "multiclass", ("a", "b", "c"))
    with pytest.raises(DataError, match=r"labels of a binary task must be \(2,\), got \(3,\)"):
        score(probabilities, np.zeros(3, dtype=np.int64), "binary", ("no", "yes"))
    with pytest.raises(DataError, match="class indices from 0 to 1, got 2"):
        score(probabilities, np.array([0, 2]), "binary", ("no", "yes"))
    with pytest.raises(DataError, match="0, 1, or NaN for not labelled, got -1"):
        score(probabilities, np.array([[0.0, -1.0], [1.0, 1.0]]), "multilabel", ("a", "b"))
    with pytest.raises(DataError, match=r"must lie in \[0, 1\], got 20: are these logits\?"):
        score(np.array([[0.0, 20.0], [0.0, 1.0]]), labels, "binary", ("no", "yes"))

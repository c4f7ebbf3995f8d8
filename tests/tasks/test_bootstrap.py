from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from ttl_lightning.errors import ConfigError
from ttl_lightning.tasks import bootstrap
from ttl_lightning.tasks.bootstrap import bootstrap_intervals, resample_indices
from ttl_lightning.tasks.metrics import METRICS, score


def trapezoid(target: np.ndarray, scores: np.ndarray) -> float:
    precision, recall, _ = sk.precision_recall_curve(target, scores)
    return float(sk.auc(recall, precision))


def brute_binary(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    scores, decided = probabilities[:, 1], probabilities.argmax(axis=1)
    return {
        "auroc": sk.roc_auc_score(labels, scores),
        "auprc": sk.average_precision_score(labels, scores),
        "auprc_trapezoid": trapezoid(labels, scores),
        "accuracy": sk.accuracy_score(labels, decided),
        "f1": sk.f1_score(labels, decided),
        "sensitivity": sk.recall_score(labels, decided),
        "specificity": sk.recall_score(labels, decided, pos_label=0),
    }


def quantiles(values: list[float]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def binary_case(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    positive = np.clip(np.round(0.3 * labels + 0.7 * rng.random(n), 2), 0, 1)
    return np.stack([1 - positive, positive], axis=1), labels


def test_binary_equals_scikit_learn_on_the_same_draws() -> None:
    probabilities, labels = binary_case(80)
    draws = np.concatenate(list(resample_indices(80, 60, seed=3)))
    tables = [brute_binary(probabilities[row], labels[row]) for row in draws]
    intervals = bootstrap_intervals(probabilities, labels, "binary", resamples=60, seed=3)
    for key in tables[0]:
        expected = quantiles([table[key] for table in tables])
        assert intervals[key] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_every_metric_equals_scoring_each_resample(task: str) -> None:
    rng = np.random.default_rng(1)
    names = ("no", "yes") if task == "binary" else ("a", "b", "c")
    probabilities = rng.dirichlet(np.ones(len(names)), 40)
    if task == "multilabel":
        labels = rng.integers(0, 2, (40, 3)).astype(np.float32)
        labels[rng.random((40, 3)) < 0.2] = np.nan
    else:
        labels = rng.integers(0, len(names), 40)
    draws = np.concatenate(list(resample_indices(40, 50, seed=7)))
    tables = [score(probabilities[row], labels[row], task, names).values for row in draws]
    intervals = bootstrap_intervals(probabilities, labels, task, resamples=50, seed=7)
    assert tuple(intervals) == METRICS
    for key in METRICS:
        expected = quantiles([table[key] for table in tables])  # type: ignore[misc]
        assert intervals[key] == pytest.approx(expected, abs=1e-9)


def test_multiclass_macro_equals_scikit_learn_on_the_same_draws() -> None:
    rng = np.random.default_rng(2)
    labels, probabilities = rng.integers(0, 3, 60), rng.dirichlet(np.ones(3), 60)
    draws = np.concatenate(list(resample_indices(60, 40, seed=0)))
    areas = [sk.roc_auc_score(labels[row], probabilities[row], multi_class="ovr") for row in draws]
    intervals = bootstrap_intervals(probabilities, labels, "multiclass", resamples=40)
    assert intervals["auroc"] == pytest.approx(quantiles(areas), abs=1e-9)


def test_blocks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, labels = binary_case(31)
    whole = bootstrap_intervals(probabilities, labels, "binary", resamples=50)
    monkeypatch.setattr(bootstrap, "BLOCK", 31 * 7)
    assert len(list(resample_indices(31, 50, seed=0))) == 8
    assert bootstrap_intervals(probabilities, labels, "binary", resamples=50) == whole


def test_interval_holds_the_point_and_narrows_with_confidence() -> None:
    probabilities, labels = binary_case(200)
    point = score(probabilities, labels, "binary", ("no", "yes")).values["auroc"]
    wide = bootstrap_intervals(probabilities, labels, "binary", resamples=300)["auroc"]
    narrow = bootstrap_intervals(probabilities, labels, "binary", resamples=300, confidence=0.5)[
        "auroc"
    ]
    assert wide is not None
    assert narrow is not None
    assert point is not None
    assert wide[0] < narrow[0] < point < narrow[1] < wide[1]


def test_undefined_is_null() -> None:
    probabilities, _ = binary_case(20)
    intervals = bootstrap_intervals(probabilities, np.zeros(20, dtype=np.int64), "binary")
    assert intervals["auroc"] is None
    assert intervals["specificity"] is not None
    # One positive is in two thirds of the resamples only.
    lone = np.eye(1, 20, dtype=np.int64)[0]
    assert bootstrap_intervals(probabilities, lone, "binary")["auroc"] is None
    broken = probabilities.copy()
    broken[3] = np.nan
    assert set(bootstrap_intervals(broken, lone, "binary").values()) == {None}
    nothing = bootstrap_intervals(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), "binary")
    assert set(nothing.values()) == {None}


def test_settings_are_checked() -> None:
    probabilities, labels = binary_case(10)
    with pytest.raises(ConfigError, match="resamples must be an integer of at least 1, got 0"):
        bootstrap_intervals(probabilities, labels, "binary", resamples=0)
    with pytest.raises(ConfigError, match="confidence must be a number from 0 to 1, got 95"):
        bootstrap_intervals(probabilities, labels, "binary", confidence=95)

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from ttl_lightning.errors import DataError, UnknownNameError
from ttl_lightning.metrics import classification as metrics
from ttl_lightning.tasks import probes
from ttl_lightning.tasks.probes import PENALTIES, TASKS, Labelled, probe

NAMES = ("a", "b", "c", "d")


def draw(seed: int, task: str, n: int = 120) -> Labelled:
    """Noisy labels of what lies in the small differences of features that are nearly alike."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(n, 4))
    shared = rng.normal(size=(n, 4))
    features = np.hstack([shared + 0.3 * causes, shared, rng.normal(size=(n, 4)) * 100])
    logits = 2 * causes + rng.normal(size=(n, 4))
    if task == "binary":
        return Labelled(features, (logits[:, 0] > 0).astype(np.int64))
    if task == "multiclass":
        return Labelled(features, logits.argmax(axis=1))
    labels = (logits > 0.5).astype(np.float32)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    return Labelled(features, labels)


def named(train: Labelled, val: Labelled, test: Labelled) -> dict[str, Labelled]:
    return {"train": train, "val": val, "test": test}


def reference(train: Labelled, given: np.ndarray, task: str, penalty: float) -> np.ndarray:
    """Probabilities, (n, classes): scaling and spreading by hand, scikit-learn for the fit."""
    mean, std = train.features.mean(axis=0), train.features.std(axis=0)
    x, given = (train.features - mean) / std, (given - mean) / std
    if task != "multilabel":
        fit = LogisticRegression(C=1 / (penalty * len(x)), max_iter=1000).fit(x, train.labels)
        return fit.predict_proba(given)
    columns = []
    for labels in train.labels.T:
        known = ~np.isnan(labels)
        fit = LogisticRegression(C=1 / (penalty * known.sum()), max_iter=1000)
        columns.append(fit.fit(x[known], labels[known]).predict_proba(given)[:, 1])
    return np.stack(columns, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("task", TASKS)
def test_the_scores_are_the_tasks_own_and_the_penalty_the_best_on_validation(task, seed) -> None:
    train, val, test = (draw(10 * seed + i, task) for i in range(3))
    result = probe(named(train, val, test), task)
    names = NAMES[:2] if task == "binary" else NAMES
    curve = {}
    for penalty in PENALTIES:
        predicted = reference(train, val.features, task, penalty)
        curve[penalty] = metrics.score(predicted, val.labels, task, names).values
    best = max(curve, key=lambda penalty: curve[penalty]["auprc"])
    assert result.penalty == best
    predicted = reference(train, test.features, task, best)
    tested = metrics.score(predicted, test.labels, task, names).values
    expected = {f"val/{key}": curve[best][key] for key in ("auroc", "auprc")}
    expected |= {f"test/{key}": tested[key] for key in ("auroc", "auprc")}
    assert result.metrics == pytest.approx(expected, abs=1e-9)
    assert not result.notes
    assert result == probe(named(train, val, test), task)


def test_the_test_split_has_no_say_and_need_not_be_there() -> None:
    train, val, test = (draw(i, "binary") for i in range(3))
    with_test = probe(named(train, val, test), "binary")
    without = probe({"train": train, "val": val}, "binary")
    assert without.penalty == with_test.penalty
    assert without.metrics == {k: v for k, v in with_test.metrics.items() if k.startswith("val/")}


def test_the_penalty_weighs_half_the_squared_coefficients_beside_the_mean_cross_entropy() -> None:
    train, val, test = (draw(i, "binary") for i in range(3))
    mean, std = train.features.mean(axis=0), train.features.std(axis=0)
    x, signs = (train.features - mean) / std, 2 * train.labels - 1
    best = probe(named(train, val, test), "binary")

    def loss(w: np.ndarray) -> float:
        margins = signs * (x @ w[1:] + w[0])
        return np.logaddexp(0, -margins).mean() + best.penalty / 2 * (w[1:] ** 2).sum()

    w = minimize(loss, np.zeros(13), tol=1e-10).x
    scores = expit((test.features - mean) / std @ w[1:] + w[0])
    assert best.metrics["test/auroc"] == pytest.approx(roc_auc_score(test.labels, scores), abs=2e-3)
    assert best.metrics["test/auprc"] == pytest.approx(
        average_precision_score(test.labels, scores), abs=2e-3
    )


def test_a_weak_penalty_is_chosen_where_a_strong_one_hides_what_matters() -> None:
    rng = np.random.default_rng(0)
    splits = []
    for _ in range(3):
        cause, shared = rng.normal(size=(2, 400))
        labels = (cause > 0).astype(np.int64)
        splits.append(Labelled(np.stack([shared + 0.05 * cause, shared], axis=1), labels))
    result = probe(named(*splits), "binary")
    assert result.penalty < 1e-2
    assert result.metrics["test/auroc"] > 0.99


def test_of_penalties_that_tie_the_strongest_is_chosen() -> None:
    labels = np.tile([0, 1], 20)
    split = Labelled(np.stack([labels * 2.0, np.full(40, 7.0)], axis=1), labels)  # one is dead
    result = probe(named(split, split, split), "binary")
    assert result.penalty == max(PENALTIES)
    assert set(result.metrics.values()) == {1.0}


def test_the_curve_peaks_at_the_unit_that_separates() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 600)
    curve = {}
    for unit in range(1, 7):
        features = rng.normal(size=(600, 16))
        features[:, 3] += {3: 1.0, 4: 4.0, 5: 2.0}.get(unit, 0.0) * labels
        splits = (Labelled(features[i::3], labels[i::3]) for i in range(3))
        curve[unit] = probe(named(*splits), "binary").metrics
    for key in ("val/auprc", "test/auprc", "val/auroc", "test/auroc"):
        ranked = sorted(curve, key=lambda unit: -curve[unit][key])
        assert ranked[:3] == [4, 5, 3]
        assert curve[4][key] > 0.98
    assert all(0.3 < curve[unit]["test/auroc"] < 0.7 for unit in (1, 2, 6))


def test_a_class_that_a_split_lacks_is_left_out_of_its_means() -> None:
    train, val, test = (draw(i, "multiclass") for i in range(3))
    kept = test.labels != 2
    fewer = Labelled(test.features[kept], test.labels[kept])
    result = probe(named(train, val, fewer), "multiclass")
    predicted = reference(train, fewer.features, "multiclass", result.penalty)
    expected = metrics.score(predicted, fewer.labels, "multiclass", NAMES).values
    assert result.metrics["test/auroc"] == pytest.approx(expected["auroc"], abs=1e-9)
    assert result.metrics["test/auprc"] == pytest.approx(expected["auprc"], abs=1e-9)
    reason = f"left out: class 2 has 0 positive and {kept.sum()} negative samples in test"
    assert result.notes == dict.fromkeys(("test/auroc", "test/auprc"), reason)


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_a_class_that_train_lacks_is_left_out_everywhere(task) -> None:
    train, val, test = (draw(i, task) for i in range(3))
    if task == "multiclass":
        kept = train.labels != 1
        train = Labelled(train.features[kept], train.labels[kept])
    else:
        train.labels[train.labels[:, 1] == 1, 1] = np.nan
    result = probe(named(train, val, test), task)
    negatives = len(train.labels) if task == "multiclass" else (train.labels[:, 1] == 0).sum()
    reason = f"left out: class 1 has 0 positive and {negatives} negative samples in train"
    assert result.notes == dict.fromkeys(result.metrics, reason)
    assert all(0.5 < value < 1 for value in result.metrics.values())


def test_a_test_split_of_one_class_is_null_with_a_reason() -> None:
    train, val, test = (draw(i, "binary") for i in range(3))
    negatives = Labelled(test.features, np.zeros_like(test.labels))
    result = probe(named(train, val, negatives), "binary")
    assert result.metrics["test/auroc"] is result.metrics["test/auprc"] is None
    assert result.metrics["val/auroc"] > 0.5
    reason = "left out: class 1 has 0 positive and 120 negative samples in test"
    assert result.notes == {"test/auroc": reason, "test/auprc": reason}


def test_a_solver_that_does_not_finish_is_a_note_and_no_warning(monkeypatch) -> None:
    monkeypatch.setattr(probes, "MAX_ITERATIONS", 1)
    result = probe(named(*(draw(i, "multilabel") for i in range(3))), "multilabel")
    assert set(result.notes) == {"penalty"}
    assert result.notes["penalty"].startswith("lbfgs failed to converge after 1 iteration")


BINARY = draw(0, "binary")
LABELS = draw(0, "multilabel")


@pytest.mark.parametrize(
    ("task", "train", "val", "text"),
    [
        (
            "binary",
            BINARY,
            BINARY._replace(features=BINARY.features[:, :3]),
            "features of val must be (n, C), C as in train; got (120, 3).",
        ),
        (
            "binary",
            BINARY,
            Labelled(np.zeros((0, 12)), np.zeros(0)),
            "features of val must be (n, C), C as in train; got (0, 12).",
        ),
        (
            "binary",
            BINARY._replace(features=np.where(BINARY.features > 150, np.nan, BINARY.features)),
            BINARY,
            f"{(BINARY.features > 150).any(axis=1).sum()} of 120 samples of train have features "
            "that are not finite.",
        ),
        (
            "binary",
            BINARY,
            BINARY._replace(labels=BINARY.labels[:7]),
            "labels of a binary task must be (n,); got (7,) in val, which has 120 samples.",
        ),
        (
            "multilabel",
            LABELS,
            LABELS._replace(labels=LABELS.labels[:, :3]),
            "labels of a multilabel task must be (n, classes), classes as in train; got (120, 3) "
            "in val, which has 120 samples.",
        ),
        (
            "binary",
            BINARY,
            BINARY._replace(labels=BINARY.labels * 2),
            "labels of a binary task must be 0 or 1; got 2 in val.",
        ),
        (
            "multiclass",
            BINARY,
            BINARY._replace(labels=BINARY.labels - 1),
            "labels of a multiclass task must be class indices from 0 on; got -1 in val.",
        ),
        (
            "multilabel",
            LABELS,
            LABELS._replace(labels=LABELS.labels / 2),
            "labels of a multilabel task must be 0, 1, or NaN for not labelled; got 0.5 in val.",
        ),
        (
            "binary",
            BINARY,
            BINARY._replace(labels=np.ones(120)),
            "a probe needs a class that train and val have samples of, and of others, but class 1 "
            "has 120 positive and 0 negative samples in val.",
        ),
        (
            "multiclass",
            BINARY._replace(labels=np.zeros(120)),
            BINARY,
            "a probe needs a class that train and val have samples of, and of others, but class 0 "
            "has 120 positive and 0 negative samples in train; class 1 has 0 positive and 120 "
            "negative samples in train.",
        ),
    ],
)
def test_error_texts(task, train, val, text) -> None:
    with pytest.raises(DataError) as caught:
        probe(named(train, val, train), task)
    assert str(caught.value) == text


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown task 'binari'; did you mean 'binary'"):
        probe(named(BINARY, BINARY, BINARY), "binari")

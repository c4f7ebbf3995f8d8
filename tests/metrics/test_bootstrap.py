from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logit

from ttl_lightning.errors import ConfigError
from ttl_lightning.metrics import bootstrap
from ttl_lightning.metrics.bootstrap import bootstrap_intervals, resample_indices
from ttl_lightning.metrics.classification import METRICS, score


def binary_case(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    positive = np.clip(np.round(0.3 * labels + 0.7 * rng.random(n), 2), 0, 1)
    return np.stack([1 - positive, positive], axis=1), labels


def draw_of(task: str, rng: np.random.Generator, n: int = 40):
    """Predictions with some skill, labels, and the classes' names."""
    classes = 2 if task == "binary" else 3
    names = ("a", "b", "c")[:classes]
    labels = rng.integers(0, classes, n)
    probabilities = 0.7 * rng.dirichlet(np.ones(classes), n) + 0.3 * np.eye(classes)[labels]
    if task != "multilabel":
        return probabilities, labels, names
    several = np.eye(3)[labels]
    several[rng.random((n, 3)) < 0.2] = np.nan
    return probabilities, several, names


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_log_odds_of_each_resamples_score_give_bias_and_spread(task: str) -> None:
    """The interval from a plain loop over resamples, each scored by itself."""
    probabilities, labels, names = draw_of(task, np.random.default_rng(1))
    draws = np.concatenate(list(resample_indices(40, 50, seed=7)))
    tables = [score(probabilities[row], labels[row], task, names).values for row in draws]
    estimates = score(probabilities, labels, task, names).values
    intervals = bootstrap_intervals(probabilities, labels, task, resamples=50, seed=7)
    assert tuple(intervals) == METRICS
    one_hot = np.eye(len(names))[labels] if task != "multilabel" else labels
    kinds = one_hot[:, 1:] if task == "binary" else one_hot
    sick, well = (np.array([(kinds == kind).sum(axis=0) for kind in (1, 0)])).astype(float)
    every = np.isfinite(kinds).any(axis=1).sum()
    sicks, wells = (min(kind.sum(), every) for kind in (sick, well))
    ranked, classes = min(sicks, wells), kinds.shape[1]
    rests_on = {
        **dict.fromkeys(
            ("auroc", "auprc", "auprc_trapezoid"), (ranked, ranked / classes, sick @ well)
        ),
        "f1": (sicks, sicks / classes, 2 * sicks),
        "sensitivity": (sicks, sicks / classes, sicks),
        "accuracy": (every,) * 3,
        "specificity": (wells,) * 3,
    }
    for key, (_, each, steps) in rests_on.items():
        least = 0.5 / (steps + 1)
        odds = logit(np.clip([table[key] for table in tables], least, 1 - least))
        centre = logit(np.clip(estimates[key], least, 1 - least))
        margin = stats.t.ppf(0.975, each - 1) * np.std(odds, ddof=1) * np.sqrt(each / (each - 1))
        expected = expit(2 * centre - odds.mean() + np.array([-margin, margin]))
        expected = min(expected[0], estimates[key]), max(expected[1], estimates[key])
        assert intervals[key] == pytest.approx(expected, abs=1e-9), key


@pytest.mark.parametrize("seed", [1, 2])
def test_an_interval_holds_its_own_estimate_where_percentiles_do_not(seed: int) -> None:
    """Twenty classes of four samples: a sample that is drawn twice lifts average precision."""
    rng = np.random.default_rng(seed)
    names = tuple(map(str, range(20)))
    labels, probabilities = np.arange(80) % 20, rng.dirichlet(np.ones(20), 80)
    estimate = score(probabilities, labels, "multiclass", names).values["auprc"]
    draws = np.concatenate(list(resample_indices(80, 60, seed=0)))
    drawn = [score(probabilities[r], labels[r], "multiclass", names).values["auprc"] for r in draws]
    assert np.quantile(drawn, 0.025) > estimate  # the fault of percentiles
    intervals = bootstrap_intervals(probabilities, labels, "multiclass", resamples=60)
    low, high = intervals["auprc"]
    assert 0 <= low <= estimate <= high <= 1
    assert high > low


def test_a_perfect_score_of_few_samples_is_not_certain() -> None:
    labels = np.arange(24) % 2
    probabilities = np.eye(2)[labels]
    intervals = bootstrap_intervals(probabilities, labels, "binary", resamples=50)
    for key in METRICS[:-1]:
        low, high = intervals[key]
        assert high == 1
        # At most what an exact test of twelve or 24 successes leaves open, and a little more.
        assert 0.5 < low < stats.beta.ppf(0.025, 24, 1) + 0.02
    assert intervals["ece"] is None


def test_the_interval_is_student_ts_for_a_share_of_many() -> None:
    """Of 400 right answers in 500, all textbook intervals are about the same."""
    labels = np.arange(500) % 2
    right = np.arange(500) % 5 > 0
    probabilities = np.eye(2)[np.where(right, labels, 1 - labels)]
    found = bootstrap_intervals(probabilities, labels, "binary", resamples=2000)["accuracy"]
    expected = stats.binomtest(400, 500).proportion_ci(method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=0.005)


def covered(task: str, rng: np.random.Generator, draws: int) -> dict[str, float]:
    """How often intervals hold what 60,000 samples of the same source score."""

    def source(n: int):
        if task == "binary":
            labels = (rng.random(n) < 0.3).astype(np.int64)
            sick = expit(rng.normal(size=n) + 1.5 * labels - 1.2)
            return np.stack([1 - sick, sick], axis=1), labels
        if task == "multiclass":
            labels = rng.integers(0, 9, n)
            odds = np.exp(rng.normal(size=(n, 9)) + 1.2 * np.eye(9)[labels])
            return odds / odds.sum(axis=1, keepdims=True), labels
        several = (rng.random((n, 3)) < [0.15, 0.3, 0.5]).astype(float)
        return expit(rng.normal(size=(n, 3)) + 1.2 * several - 0.8), several

    names = {"binary": 2, "multiclass": 9, "multilabel": 3}[task] * ("x",)
    names = tuple(f"{name}{place}" for place, name in enumerate(names))
    truth = score(*source(60_000), task, names).values
    held = dict.fromkeys(METRICS[:-1], 0)
    for number in range(draws):
        found = bootstrap_intervals(*source(90), task, resamples=200, seed=number)
        for key in held:
            held[key] += found[key][0] <= truth[key] <= found[key][1]
    return {key: count / draws for key, count in held.items()}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_intervals_hold_the_true_value_as_often_as_they_say(task: str) -> None:
    shares = covered(task, np.random.default_rng(3), 400)
    assert min(shares.values()) > 0.92, shares  # a share of 0.95 has a standard error of 0.011


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
    with pytest.raises(ConfigError, match="resamples must be an integer of at least 2, got 1"):
        bootstrap_intervals(probabilities, labels, "binary", resamples=1)
    with pytest.raises(ConfigError, match="confidence must be a number from 0 to 1, got 95"):
        bootstrap_intervals(probabilities, labels, "binary", confidence=95)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_an_image_that_a_patient_has_twice_tells_no_more_than_once(task) -> None:
    draw = np.random.default_rng(3)
    positive = draw.random(60) < 0.4
    risks = 1 / (1 + np.exp(-(draw.normal(size=60) + 1.5 * positive)))
    probabilities = np.stack([1 - risks, risks], axis=1)
    labels = positive.astype(np.int64) if task == "binary" else np.eye(2)[positive.astype(int)]
    once = bootstrap_intervals(probabilities, labels, task)
    patients = [f"p{number // 4:02}" for number in range(240)]
    given = np.repeat(probabilities, 4, axis=0), np.repeat(labels, 4, axis=0), task
    assert bootstrap_intervals(*given, patients=patients)["auroc"] == pytest.approx(once["auroc"])
    narrow, wide = bootstrap_intervals(*given)["auroc"], once["auroc"]
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])

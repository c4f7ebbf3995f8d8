import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from ttl_lightning.errors import DataError
from ttl_lightning.report.statistics import (
    Scored,
    average_precision,
    compare_auprc,
    compare_auroc,
)


def scored(scores, targets, prefix="") -> Scored:
    scores, targets = (np.asarray(a, float) for a in (scores, targets))
    if scores.ndim == 1:
        scores, targets = scores[:, None], targets[:, None]
    return Scored(tuple(f"{prefix}{i}" for i in range(len(scores))), scores, targets)


def draw(rng, n=60, *, seeds=1, ties=False):
    """Labels, and two methods' scores by seed: (seeds, n) each."""
    positive = rng.random(n) < 0.4
    positive[:4] = [True, True, False, False]
    shared = rng.normal(size=n) + positive
    tables = [shared + rng.normal(size=(seeds, n)) for _ in range(2)]
    return positive, *(np.round(table) if ties else table for table in tables)


def components(scores, positive):
    """V10 and V01 by their definition: one pair of images after the other."""
    first, second = scores[positive], scores[~positive]
    kernel = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in second] for x in first])
    return kernel.mean(axis=1), kernel.mean(axis=0)


def delong(ours, theirs, positive):
    """Difference and variance of two AUROCs, from DeLong's covariance matrices."""
    (our10, our01), (their10, their01) = components(ours, positive), components(theirs, positive)
    contrast = np.array([1, -1])
    s10, s01 = np.cov([our10, their10]), np.cov([our01, their01])
    covariance = s10 / len(our10) + s01 / len(our01)
    return our10.mean() - their10.mean(), contrast @ covariance @ contrast


def check(comparison, difference, variance):
    error = math.sqrt(variance)
    assert comparison.difference == pytest.approx(difference, abs=1e-12)
    low, high = stats.norm.interval(0.95, loc=difference, scale=error)
    assert (comparison.low, comparison.high) == pytest.approx((low, high), abs=1e-9)
    p = 2 * stats.norm.sf(abs(difference) / error)
    assert comparison.p_value == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_one_seed_is_delongs_test(seed, ties) -> None:
    positive, (ours,), (theirs,) = draw(np.random.default_rng(seed), ties=ties)
    found = compare_auroc({0: scored(ours, positive)}, {0: scored(theirs, positive)})
    check(found, *delong(ours, theirs, positive))
    area = sk.roc_auc_score(positive, ours) - sk.roc_auc_score(positive, theirs)
    assert found.difference == pytest.approx(area, abs=1e-12)
    assert (found.seeds, found.images) == (1, 60)


def test_seeds_on_the_same_images_average_their_components() -> None:
    positive, ours, theirs = draw(np.random.default_rng(1), seeds=3)
    found = compare_auroc(*({s: scored(t[s], positive) for s in range(3)} for t in (ours, theirs)))
    parts = [
        [np.mean([components(row, positive)[kind] for row in table], axis=0) for kind in (0, 1)]
        for table in (ours, theirs)
    ]
    differences = [parts[0][kind] - parts[1][kind] for kind in (0, 1)]
    variance = sum(d.var(ddof=1) / len(d) for d in differences)
    check(found, differences[0].mean(), variance)
    assert (found.seeds, found.images) == (3, 60)


@pytest.mark.parametrize("names", ["other images", "other labels"])
def test_seeds_on_other_images_are_independent(names) -> None:
    rng = np.random.default_rng(2)
    ours, theirs, single = {}, {}, []
    for seed in range(3):
        positive, (a,), (b,) = draw(rng, n=40 + seed)
        prefix = f"{seed}/" if names == "other images" else ""
        ours[seed], theirs[seed] = scored(a, positive, prefix), scored(b, positive, prefix)
        single.append(delong(a, b, positive))
    found = compare_auroc(ours, theirs)
    check(found, np.mean([d for d, _ in single]), sum(v for _, v in single) / 9)
    assert found.images == 40 + 41 + 42


def test_two_classes_are_the_binary_test() -> None:
    positive, (ours,), (theirs,) = draw(np.random.default_rng(3))
    both = np.stack([~positive, positive], axis=1)
    tables = [scored(np.stack([-table, table], axis=1), both) for table in (ours, theirs)]
    check(compare_auroc({0: tables[0]}, {0: tables[1]}), *delong(ours, theirs, positive))


def test_absent_classes_and_unknown_labels_are_passed_over() -> None:
    rng = np.random.default_rng(4)
    positive, (ours,), (theirs,) = draw(rng)
    targets = np.stack([positive, np.zeros(60), np.where(np.arange(60) < 20, np.nan, positive)], 1)
    tables = [
        scored(np.stack([t, rng.random(60), np.where(np.arange(60) < 20, 9, t)], 1), targets)
        for t in (ours, theirs)
    ]
    found = compare_auroc({0: tables[0]}, {0: tables[1]})
    parts = np.zeros((2, 60))
    for row, table in enumerate((ours, theirs)):
        for rows in (np.arange(60), np.arange(20, 60)):
            v10, v01 = components(table[rows], positive[rows])
            m, n = len(v10), len(v01)
            parts[row, rows[positive[rows]]] += (v10 - v10.mean()) / math.sqrt(m * (m - 1)) / 2
            parts[row, rows[~positive[rows]]] += (v01 - v01.mean()) / math.sqrt(n * (n - 1)) / 2
    areas = [
        np.mean([sk.roc_auc_score(positive, t), sk.roc_auc_score(positive[20:], t[20:])])
        for t in (ours, theirs)
    ]
    check(found, areas[0] - areas[1], ((parts[0] - parts[1]) ** 2).sum())
    precisions = [
        np.mean([sk.average_precision_score(positive[a:], t[a:]) for a in (0, 20)])
        for t in (ours, theirs)
    ]
    bootstrap = compare_auprc({0: tables[0]}, {0: tables[1]}, resamples=20)
    assert bootstrap.difference == pytest.approx(precisions[0] - precisions[1], abs=1e-12)


def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    rng = np.random.default_rng(5)
    areas, precisions = [], []
    for _ in range(300):
        positive, (ours,), (theirs,) = draw(rng, n=100)
        pair = {0: scored(ours, positive)}, {0: scored(theirs, positive)}
        areas.append(compare_auroc(*pair).p_value)
        precisions.append(compare_auprc(*pair, resamples=100).p_value)
    for values in (areas, precisions):
        assert 0.015 < np.mean(np.array(values) < 0.05) < 0.10
    assert stats.kstest(areas, "uniform").pvalue > 0.01


def test_the_order_of_rows_and_unshared_seeds_do_not_matter() -> None:
    positive, ours, theirs = draw(np.random.default_rng(6), seeds=2)
    mine, other = scored(ours[0], positive), scored(theirs[0], positive)
    order = np.random.default_rng(0).permutation(60)
    shuffled = Scored(tuple(other.ids[i] for i in order), other.scores[order], other.targets[order])
    plain = compare_auroc({0: mine}, {0: other})
    assert compare_auroc({0: mine, 7: mine}, {0: shuffled, 8: other}) == plain
    assert compare_auprc({0: mine}, {0: shuffled}) == compare_auprc({0: mine}, {0: other})


def test_equal_predictions_do_not_differ() -> None:
    positive, ours, _ = draw(np.random.default_rng(7), seeds=2)
    tables = {seed: scored(ours[seed], positive) for seed in (0, 1)}
    for test in (compare_auroc, compare_auprc):
        found = test(tables, tables)
        assert (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


TRUTH = [1, 1, 1, 0, 0, 0]
GOOD, FLAT = [6, 5, 4, 3, 2, 1], [1] * 6


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({0: scored(GOOD, TRUTH)}, {1: scored(GOOD, TRUTH)}, "no seed of which both"),
        ({0: scored(GOOD, TRUTH)}, {0: scored(GOOD, TRUTH, "x")}, "samples are not the same"),
        ({0: scored(GOOD, TRUTH)}, {0: scored(GOOD, TRUTH[::-1])}, "labels are not the same"),
        ({0: scored(GOOD, [1] * 6)}, {0: scored(GOOD, [1] * 6)}, "no positives, or no negatives"),
        ({0: scored(GOOD, [1, 0, 0, 0, 0, 0])},) * 2 + ("one test sample only",),
        ({0: scored(GOOD, TRUTH)}, {0: scored(FLAT, TRUTH)}, "no spread"),
    ],
)
def test_what_cannot_be_compared_is_named(ours, theirs, reason) -> None:
    with pytest.raises(DataError, match=reason):
        compare_auroc(ours, theirs)


def test_an_image_listed_twice_is_named() -> None:
    table = scored(GOOD, TRUTH)
    twice = Scored(("0",) * 6, table.scores, table.targets)
    with pytest.raises(DataError, match="seed 3, an image is listed twice"):
        compare_auroc({3: twice}, {3: twice})


def test_a_bootstrap_that_is_mostly_undefined_is_refused() -> None:
    tables = {0: scored(GOOD, [0, 1, 0, 0, 0, 0])}
    with pytest.raises(DataError, match="too few"):
        compare_auprc(tables, tables)
    with pytest.raises(DataError, match="no positives, or no negatives"):
        compare_auprc(*({0: scored(GOOD, [0] * 6)},) * 2)


@pytest.mark.parametrize("seed", range(10))
def test_average_precision_is_scikit_learns(seed) -> None:
    rng = np.random.default_rng(seed)
    scores, positive = np.round(rng.random(40), seed % 3 + 1), rng.random(40) < 0.3
    positive[:2] = [True, False]
    weights = rng.integers(0, 4, size=(3, 40)) + np.eye(1, 40) + np.eye(1, 40, 1)
    expected = [sk.average_precision_score(positive, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(average_precision(scores, positive, weights), expected, atol=1e-12)


def test_the_bootstrap_is_that_of_a_plain_loop() -> None:
    positive, ours, theirs = draw(np.random.default_rng(8), n=80, seeds=2)
    tables = ({s: scored(t[s], positive) for s in (0, 1)} for t in (ours, theirs))
    found = compare_auprc(*tables, resamples=300, seed=7)
    differences = []
    for rows in np.random.default_rng(7).integers(0, 80, size=(300, 80)):
        means = [
            np.mean([sk.average_precision_score(positive[rows], row[rows]) for row in table])
            for table in (ours, theirs)
        ]
        differences.append(means[0] - means[1])
    expected = np.quantile(differences, [0.025, 0.975])
    np.testing.assert_allclose([found.low, found.high], expected, atol=1e-12)
    below = np.mean(np.array(differences) <= 0)
    assert found.p_value == pytest.approx(2 * min(below, 1 - below))


def test_a_sure_win_has_the_smallest_p_value_that_resampling_can_show() -> None:
    truth = np.arange(60) % 2
    found = compare_auprc({0: scored(truth, truth)}, {0: scored(1 - truth, truth)}, resamples=99)
    assert found.p_value == pytest.approx(1 / 100)
    assert found.low > 0

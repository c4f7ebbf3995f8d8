import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from tests.report.scored_cases import components, draw, scored
from ttl_lightning.errors import DataError
from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.metrics.paired import (
    METRICS,
    Arm,
    Scored,
    compare,
    contrast,
)
from ttl_lightning.metrics.parts import auroc_parts


def sides(*methods, positive, prefix=""):
    """Predictions by seed of several methods, each (seeds, n)."""
    return [{s: scored(row, positive, prefix) for s, row in enumerate(m)} for m in methods]


@pytest.mark.parametrize("ties", [False, True])
def test_one_training_a_side_is_delongs_interval_and_no_p(ties) -> None:
    positive, ours, theirs = draw(np.random.default_rng(0), ties=ties)
    found = compare(METRICS["auroc"], *sides(ours, theirs, positive=positive))
    (our10, our01), (their10, their01) = (components(t[0], positive) for t in (ours, theirs))
    s10, s01 = np.cov([our10, their10]), np.cov([our01, their01])
    covariance, sign = s10 / len(our10) + s01 / len(our01), np.array([1, -1])
    difference = our10.mean() - their10.mean()
    expected = stats.norm.interval(0.95, difference, math.sqrt(sign @ covariance @ sign))
    assert found.interval == pytest.approx(expected, abs=1e-9)
    assert found.p_value is None
    assert (found.seeds, found.images) == ((1, 1), 60)


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
def test_the_difference_is_that_of_the_means_over_all_seeds_of_each_side(metric) -> None:
    rng = np.random.default_rng(1)
    positive, ours, theirs = draw(rng, seeds=4)
    found = compare(METRICS[metric], *sides(ours[:2], theirs, positive=positive))
    score = {"auroc": sk.roc_auc_score, "auprc": sk.average_precision_score}[metric]
    means = [np.mean([score(positive, row) for row in t]) for t in (ours[:2], theirs)]
    assert found.difference == pytest.approx(means[0] - means[1], abs=1e-12)
    assert found.seeds == (2, 4)


def test_without_the_chance_of_images_it_is_welchs_t_test() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = 0.02 * rng.normal(size=4) + 0.9, 0.05 * rng.normal(size=6) + 0.8
    arms = [Arm(v, np.zeros((len(v), 5))) for v in (ours, -theirs)]
    expected = stats.ttest_ind(ours, theirs, equal_var=False)
    found = Comparison(*contrast(arms), (4, 6), 5)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)


def test_variances_are_those_of_obuchowski_and_rockette() -> None:
    """Their Cov2 and Cov3, image covariances of other trainings, from DeLong's matrices."""
    positive, ours, theirs = draw(np.random.default_rng(3), n=200, seeds=3)
    v10, v01 = zip(*(components(row, positive) for row in (*ours, *theirs)), strict=True)
    covariance = np.cov(v10) / positive.sum() + np.cov(v01) / (~positive).sum()
    same, other = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    same[:3, :3] = same[3:, 3:] = ~np.eye(3, dtype=bool)
    other[:3, 3:] = True
    shared = 2 * covariance[same].mean() - 2 * covariance[other].mean()
    found = compare(METRICS["auroc"], *sides(ours, theirs, positive=positive))
    assert found.by_images == pytest.approx(shared, abs=1e-12)
    inside = [
        c.diagonal().mean() - c[~np.eye(3, dtype=bool)].mean()
        for c in (covariance[:3, :3], covariance[3:, 3:])
    ]
    seen = np.mean(v10, axis=1).reshape(2, 3).var(axis=1, ddof=1)
    assert found.by_training == pytest.approx(np.maximum(seen, inside).sum() / 3, rel=1e-9)


def test_trainings_that_happen_to_agree_do_not_narrow_what_images_leave_open() -> None:
    positive, ours, theirs = draw(np.random.default_rng(4), n=100, seeds=3)
    parts = [np.array([auroc_parts(row, positive)[1] for row in t]) for t in (ours, theirs)]
    equal = [Arm(np.full(3, value), p) for value, p in zip((0.8, -0.7), parts, strict=True)]
    _, by_images, by_training, _ = contrast(equal)
    mean = parts[0].mean(axis=0) + parts[1].mean(axis=0)
    assert by_images + by_training >= mean @ mean - 1e-15
    assert by_training > 0


def test_test_images_that_change_with_the_seed_are_compared_within_it() -> None:
    rng = np.random.default_rng(5)
    ours, theirs, differences = {}, {}, []
    for seed in range(4):
        positive, (a,), (b,) = draw(rng, n=40 + seed)
        ours[seed], theirs[seed] = (scored(t, positive, f"{seed}/") for t in (a, b))
        differences.append(sk.roc_auc_score(positive, a) - sk.roc_auc_score(positive, b))
    theirs[9] = theirs[0]
    found = compare(METRICS["auroc"], ours, theirs)
    assert found.difference == pytest.approx(np.mean(differences), abs=1e-12)
    assert (found.seeds, found.images, found.freedom) == ((4, 4), 166, pytest.approx(3))
    assert found.by_images == pytest.approx(0, abs=1e-12)  # no image of two seeds
    assert found.by_training >= np.var(differences, ddof=1) / 4 - 1e-12


def test_names_that_mean_other_images_in_other_seeds_are_other_images() -> None:
    rng = np.random.default_rng(6)
    ours, theirs = {}, {}
    for seed in range(2):
        positive, (a,), (b,) = draw(rng)
        ours[seed], theirs[seed] = scored(a, positive), scored(b, positive)
    assert compare(METRICS["auprc"], ours, theirs).images == 120


def test_images_of_some_seeds_count_once() -> None:
    rng = np.random.default_rng(7)
    positive, ours, theirs = draw(rng, n=80, seeds=2)
    pick = [slice(0, 60), slice(20, 80)]
    tables = [
        {s: scored(t[s][rows], positive[rows], rows.start) for s, rows in enumerate(pick)}
        for t in (ours, theirs)
    ]
    assert compare(METRICS["auroc"], *tables).images == 80


def test_the_order_of_rows_does_not_matter() -> None:
    positive, ours, theirs = draw(np.random.default_rng(8), seeds=2)
    mine, other = sides(ours, theirs, positive=positive)
    order = np.random.default_rng(0).permutation(60)
    table = other[1]
    shuffled = Scored(tuple(table.ids[i] for i in order), table.scores[order], table.targets[order])
    for kernel in METRICS.values():
        assert compare(kernel, mine, {0: other[0], 1: shuffled}) == compare(kernel, mine, other)


def test_equal_predictions_do_not_differ() -> None:
    positive, ours, _ = draw(np.random.default_rng(9), seeds=2)
    (table,) = sides(ours[:1], positive=positive)
    same = dict.fromkeys((0, 1), table[0])
    for metric in METRICS:
        found = compare(METRICS[metric], same, same)
        assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)


def test_classes_are_averaged_without_those_absent_and_labels_unknown() -> None:
    rng = np.random.default_rng(10)
    positive, ours, theirs = draw(rng, seeds=2)
    known = np.arange(60) >= 20
    targets = np.stack([positive, np.zeros(60), np.where(known, positive, np.nan)], 1)
    tables = [
        {s: scored(np.stack([row, rng.random(60), np.where(known, row, 9)], 1), targets)
         for s, row in enumerate(t)} for t in (ours, theirs)
    ]  # fmt: skip
    for metric, score in (("auroc", sk.roc_auc_score), ("auprc", sk.average_precision_score)):
        means = [np.mean([[score(positive[a:], row[a:]) for a in (0, 20)] for row in t])
                 for t in (ours, theirs)]  # fmt: skip
        found = compare(METRICS[metric], *tables)
        assert found.difference == pytest.approx(means[0] - means[1], abs=1e-12)


def test_two_classes_are_the_binary_test() -> None:
    positive, ours, theirs = draw(np.random.default_rng(11), seeds=3)
    both = np.stack([~positive, positive], axis=1)
    tables = [
        {s: scored(np.stack([-r, r], 1), both) for s, r in enumerate(t)} for t in (ours, theirs)
    ]
    found, binary = (
        compare(METRICS["auroc"], *tables),
        compare(METRICS["auroc"], *sides(ours, theirs, positive=positive)),
    )
    assert found.interval == pytest.approx(binary.interval, abs=1e-12)


TRUTH = [1, 1, 1, 0, 0, 0]
GOOD, FLAT = [6, 5, 4, 3, 2, 1], [1] * 6


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({}, {0: scored(GOOD, TRUTH)}, "one side has no predictions"),
        ({0: scored(GOOD, TRUTH)}, {1: scored(GOOD, TRUTH, "x")}, "no seed of which both"),
        ({0: scored(GOOD, TRUTH)}, {0: scored(GOOD, TRUTH, "x")}, "samples are not the same"),
        ({0: scored(GOOD, TRUTH)}, {0: scored(GOOD, TRUTH[::-1])}, "labels are not the same"),
        ({0: scored(GOOD, [1] * 6)}, {0: scored(GOOD, [1] * 6)}, "no positives, or no negatives"),
        ({0: scored(GOOD, [1, 0, 0, 0, 0, 0])},) * 2 + ("one test sample only",),
        ({0: scored(GOOD, TRUTH)}, {0: scored(FLAT, TRUTH)}, "no spread"),
    ],
)
def test_what_cannot_be_compared_is_named(ours, theirs, reason) -> None:
    with pytest.raises(DataError, match=reason):
        compare(METRICS["auroc"], ours, theirs)


def test_an_image_listed_twice_is_named() -> None:
    table = scored(GOOD, TRUTH)
    twice = Scored(("0",) * 6, table.scores, table.targets)
    with pytest.raises(DataError, match="seed 3, an image is listed twice"):
        compare(METRICS["auprc"], {3: twice}, {3: twice})


def study(rng, deviation, *, n=200, seeds=3):
    """Equal methods whose trainings differ in ability; AUROC near 0.88."""
    positive = np.arange(n) < 0.4 * n
    scores = 0.8 * rng.normal(size=n) + 0.4 * rng.normal(size=(2, 1, n))
    scores = scores + 0.4 * rng.normal(size=(2, seeds, n))
    signal = 1.63 + deviation / 0.15 * rng.normal(size=(2, seeds, 1))
    return positive, scores + signal * positive


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["auroc", "auprc"])
@pytest.mark.parametrize("deviation", [0.0, 0.04])
def test_equal_methods_are_told_apart_in_one_study_of_twenty_at_most(metric, deviation) -> None:
    rng, found = np.random.default_rng(13), []
    for _ in range(600):
        positive, scores = study(rng, deviation)
        found.append(compare(METRICS[metric], *sides(*scores, positive=positive)))
    assert np.mean([one.p_value < 0.05 for one in found]) < 0.06
    if deviation:
        alone = [abs(o.difference) > 1.96 * math.sqrt(o.by_images) for o in found]
        assert np.mean(alone) > 0.2  # what knows the images alone is fooled


def repeated(table: Scored, times: int, *, patients: bool) -> Scored:
    """Every image several times, as of one patient or as if each were another image."""
    ids = tuple(f"{name}/{n}" for name in table.ids for n in range(times))
    owners = tuple(name for name in table.ids for _ in range(times)) if patients else None
    scores, targets = (np.repeat(x, times, axis=0) for x in (table.scores, table.targets))
    return Scored(ids, scores, targets, owners)


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
@pytest.mark.parametrize("seeds", [1, 3])
def test_an_image_that_a_patient_has_twice_tells_no_more_than_once(metric, seeds) -> None:
    positive, ours, theirs = draw(np.random.default_rng(5), seeds=seeds)
    pairs = sides(ours, theirs, positive=positive)
    once = compare(METRICS[metric], *pairs)
    found = {
        patients: compare(
            METRICS[metric],
            *({s: repeated(t, 4, patients=patients) for s, t in side.items()} for side in pairs),
        )
        for patients in (True, False)
    }
    if metric == "auroc":  # average precision itself changes where scores are tied
        # its variance of m samples has m - 1 below the line
        assert found[True].interval == pytest.approx(once.interval, rel=0.03)
    assert found[True].images == once.images
    widths = {patients: np.ptp(one.interval) for patients, one in found.items()}
    assert widths[True] > 1.3 * widths[False]


def test_patients_are_found_in_another_order_of_images() -> None:
    positive, ours, theirs = draw(np.random.default_rng(6), seeds=2)
    mine, other = (
        {s: repeated(t, 2, patients=True) for s, t in side.items()}
        for side in sides(ours, theirs, positive=positive)
    )
    turned = {s: table.ordered(table.ids[::-1]) for s, table in other.items()}
    expected = compare(METRICS["auroc"], mine, other)
    found = compare(METRICS["auroc"], mine, turned)
    assert found.interval == pytest.approx(expected.interval, abs=1e-12)

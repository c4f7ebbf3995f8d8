import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ttl_lightning.report.choice import Choice
from ttl_lightning.report.collect import collect
from ttl_lightning.report.methods import group
from ttl_lightning.report.rows import compare


def rows_of(sweep_folder):
    found = collect(sweep_folder.root)
    methods = group(found.having("completed"))[0].methods
    return compare(found.root, [Choice(method, "") for method in methods])


def test_every_method_is_compared_with_full_finetuning(sweep_folder, result) -> None:
    for seed in (0, 1, 2):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed), signal=0.5)
        sweep_folder.add(f"ttl{seed}", result(seed=seed), signal=2.0)
    ftl, ttl = rows_of(sweep_folder)
    assert (ftl.baseline, ftl.comparisons) == (None, {})
    assert ttl.baseline is ftl.method
    areas = []
    for seed in (0, 1, 2):
        own = sweep_folder.noise + 0.3 * np.random.default_rng(seed).normal(size=120)
        areas.append(
            [roc_auc_score(sweep_folder.sick, s * sweep_folder.sick + own) for s in (2, 0.5)]
        )
    expected = np.mean([ours - theirs for ours, theirs in areas])
    assert ttl.comparisons["auroc"].difference == pytest.approx(expected, abs=1e-9)
    assert ttl.comparisons["auroc"].p_value < 0.01
    assert ttl.comparisons["auprc"].p_value < 0.05
    assert ttl.images == "120 test samples, the same for every seed"


def test_a_missing_table_costs_its_seed_alone(sweep_folder, result) -> None:
    for seed in (0, 1):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed), signal=0.5)
        sweep_folder.add(f"ttl{seed}", result(seed=seed), signal=1.0 if seed else None)
    _, ttl = rows_of(sweep_folder)
    assert ttl.comparisons["auroc"].seeds == (1, 2)
    assert ttl.comparisons["auroc"].p_value is None
    assert ttl.problems[0].startswith("ttl0: predictions.csv cannot be read")
    assert ttl.images == "120 test samples"


def test_nothing_to_compare_with_is_said_or_plain(sweep_folder, result) -> None:
    sweep_folder.add("ttl", result(), signal=1.0)
    (row,) = rows_of(sweep_folder)
    assert (row.baseline, row.comparisons, row.problems) == (None, {}, ())
    sweep_folder.add("ftl", result("ftl", None, 5))
    _, row = rows_of(sweep_folder)
    assert row.comparisons == {}
    assert row.problems == (
        "test AUROC: one side has no predictions.",
        "test AUPRC: one side has no predictions.",
    )


def test_p_values_are_corrected_for_the_rows_of_their_metric(sweep_folder, result) -> None:
    for seed in (0, 1, 2):
        sweep_folder.add(f"ftl{seed}", result("ftl", None, seed), signal=1.0)
        for strategy in ("tf", "ttl"):
            sweep_folder.add(f"{strategy}{seed}", result(strategy, seed=seed), signal=1.1)
    _, tf, ttl = rows_of(sweep_folder)
    for metric in ("auroc", "auprc"):
        assert tf.comparisons[metric].p_value == pytest.approx(
            min(1, 2 * tf.comparisons[metric].plain_p)
        )
        assert ttl.comparisons[metric].p_value >= tf.comparisons[metric].p_value


def test_variants_are_compared_with_their_own(sweep_folder, result) -> None:
    for rate in ("1", "2"):
        for strategy in ("ftl", "ttl"):
            run = result(
                strategy, None if strategy == "ftl" else "block1.1", overrides=[f"lr={rate}"]
            )
            sweep_folder.add(f"{strategy}{rate}", run, signal=1.0)
    sweep_folder.add("other", result(overrides=["lr=3"]), signal=1.0)
    rows = rows_of(sweep_folder)
    found = {row.method.variant: row for row in rows if row.method.strategy == "ttl"}
    for rate in ("lr=1", "lr=2"):
        assert found[rate,].baseline.variant == (rate,)
    assert found["lr=3",].baseline is None
    assert found["lr=3",].problems == ("none of the full finetunings has the same settings.",)


def test_test_images_that_differ_between_seeds_are_said_to(sweep_folder, result) -> None:
    sweep_folder.add("a", result(seed=0), signal=1.0)
    sweep_folder.sick = ~sweep_folder.sick
    sweep_folder.add("b", result(seed=1), signal=1.0)
    (row,) = rows_of(sweep_folder)
    assert row.images == "120 test samples a seed, not the same for every seed"

from dataclasses import replace

import pytest

from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.report.compare import Choice, Row
from ttl_lightning.report.learnt import Learnt
from ttl_lightning.report.methods import group
from ttl_lightning.report.words import headline, notes, recommended, verdict
from ttl_lightning.tasks.classification_report import CLASSIFICATION, MARGIN


@pytest.fixture
def rows(run):
    """Full finetuning and a truncated network, compared as told: by metric (difference, margin)."""

    def build(*, val=0.95, params=100, seeds=3, **tested) -> list[Row]:
        runs = [run("ftl", None, params=10_000), run(val=val, test=0.85, params=params)]
        ftl, ttl = group(runs)[0].methods
        comparisons = {
            metric: Comparison(
                d, (margin / 1.96) ** 2, 0.0, 4.0 if seeds > 1 else None, (seeds, seeds), 50
            )
            for metric, (d, margin) in tested.items()
        }
        return [
            Row(Choice(ftl, ""), None, {}, (), ""),
            Row(Choice(ttl, ""), ftl, comparisons, (), ""),
        ]

    return build


def test_a_measured_gain_is_claimed_with_its_evidence(rows) -> None:
    text = headline(rows(auroc=(0.05, 0.04), auprc=(0.06, 0.01)))
    assert text == (
        "Take TTL (truncated) at block1.1: better than full finetuning in test AUROC (+0.050, 95 % "
        "interval +0.010 to +0.090, p = 0.014) and test AUPRC (+0.060, 95 % interval +0.050 to "
        "+0.070, p < 0.001), with 1.0 % of its parameters and 1.0 % of its MACs."
    )


def test_no_gain_is_claimed_where_the_interval_holds_zero(rows) -> None:
    text = headline(rows(auroc=(0.05, 0.06), auprc=(-0.02, 0.05)))
    assert "no worse than full finetuning, by a margin of 0.02, in test AUROC (+0.050, 95" in text
    assert (
        "; not decided against full finetuning in test AUPRC (−0.020, 95 % interval −0.070" in text
    )
    assert "better than full" not in text
    assert "p = 0.102" in text
    assert "1.0 % of its parameters" in text


def test_mixed_findings_are_all_said(rows) -> None:
    text = headline(rows(auroc=(0.05, 0.01), auprc=(0.0, 0.01)))
    assert "better than full finetuning in test AUROC" in text
    assert "; no worse than full finetuning, by a margin of 0.02, in test AUPRC" in text


def test_a_loss_is_said_first_and_nothing_is_recommended(rows) -> None:
    text = headline(rows(auroc=(-0.05, 0.01), auprc=(0.01, 0.05)))
    assert "Take" not in text
    assert "but on the test samples it is worse than full finetuning in test AUROC (−0.050" in text


def test_one_seed_gives_no_verdict_and_no_p(rows) -> None:
    text = headline(rows(auroc=(0.318, 0.01), auprc=(0.3, 0.01), seeds=1))
    assert "better than" not in text
    assert "p =" not in text
    assert "p <" not in text
    assert "test AUROC 0.850 and test AUPRC 0.850 over 1 seed, against" in text
    assert text.endswith("one seed does not tell what another training would come to.")


def test_one_test_alone_names_the_other(rows) -> None:
    assert headline(rows(auprc=(0.05, 0.01))).endswith(" Its AUROC could not be tested.")


def test_without_tests_the_scores_stand_side_by_side(rows) -> None:
    text = headline(rows())
    assert "test AUROC 0.850 and test AUPRC 0.850 over 1 seed, against" in text
    assert "test AUROC 0.800" in text
    assert text.endswith("could not be tested.")


def test_the_choice_is_by_validation_and_may_be_full_finetuning(rows) -> None:
    table = rows(val=0.1, auroc=(0.5, 0.001))
    assert recommended(table) is table[0]
    assert headline(table).startswith(
        "Take full finetuning: it is the best on the validation split"
    )
    table = rows(val=0.9)
    assert recommended(table) is table[1]  # equal, and smaller


def test_equal_size_is_no_saving(rows) -> None:
    assert headline(rows(params=10_000, auroc=(0.05, 0.01))).count(", at the same size") == 1


def test_nothing_to_take(run) -> None:
    assert headline([]) == "There is no model to take: no run is completed."
    (method,) = group([run(val=None)])[0].methods
    assert "no completed run has val/auprc" in headline([Row(Choice(method, ""), None, {}, (), "")])


def test_without_full_finetuning_there_is_no_comparison(run) -> None:
    (method,) = group([run()])[0].methods
    text = headline([Row(Choice(method, ""), None, {}, (), "")])
    assert text.endswith("1.00 k parameters. There is no full finetuning to compare it with.")


def test_a_side_that_has_not_learnt_is_named_before_anything_is_recommended(rows) -> None:
    ftl, ttl = rows(auroc=(0.318, 0.01), auprc=(0.3, 0.01))
    stuck = Learnt({0: "predicts one class alone"}, 1)
    assert headline([ftl, replace(ttl, baseline_learnt=stuck)]) == (
        "No recommendation: full finetuning has not learnt (predicts one class alone). The best on "
        "the validation split is TTL (truncated) at block1.1, with test AUROC 0.850 and test AUPRC "
        "0.850 over 1 seed, 100 parameters."
    )
    assert headline([ftl, replace(ttl, learnt=stuck)]).startswith(
        "No recommendation: TTL (truncated) at block1.1 has not learnt"
    )
    one_of_three = replace(stuck, seeds=3)
    assert headline([ftl, replace(ttl, learnt=one_of_three)]).startswith("Take TTL")


@pytest.fixture
def said(run):
    def build(*reasons):
        """Notes of a method whose seeds have a latency, or this reason that they have none."""
        runs = [run(seed=seed) for seed in range(len(reasons))]
        for one, reason in zip(runs, reasons, strict=True):
            if reason is not None:
                one.result.complexity["latency_ms"] = {"cpu": None}
                one.result.notes["complexity/latency_ms/cpu"] = reason
        (found,) = group(runs)
        return notes(found, [Row(Choice(found.methods[0], ""), None, {}, (), "7 test samples")])

    return build


def test_what_a_latency_is_and_why_there_is_none(said) -> None:
    whole = said(None, None)
    assert "in percent of the untruncated network's" in whole[1]
    assert whole[1].endswith("The untruncated network takes 9.09 ms, at its fastest.")
    assert not any("no latency" in note for note in whole)
    assert "TTL (truncated) at block1.1: no latency, for 1 seed of 2: too noisy." in said(
        None, "too noisy"
    )
    none = said("too noisy", "too noisy")
    assert "TTL (truncated) at block1.1: no latency, so it is on no front: too noisy." in none
    assert not any("percent" in note for note in none)


def test_a_sweep_without_full_finetuning_says_why_there_are_no_differences(said) -> None:
    assert said(None)[2:] == [
        "7 test samples.",
        "No differences: there is no completed full finetuning (strategy=ftl) beside others.",
    ]


def test_test_samples_that_change_with_the_seed_are_said_to(run) -> None:
    (found,) = group([run("ftl", None, s) for s in (0, 1)] + [run(seed=s) for s in (0, 1)])
    ftl, ttl = found.methods
    made = Comparison(0.1, 0.0, 0.01, 1.0, (2, 2), 50, paired=True)
    rows = [
        Row(Choice(ftl, ""), None, {}, (), ""),
        Row(Choice(ttl, ""), ftl, {"auroc": made}, (), ""),
    ]
    said = " ".join(notes(found, rows))
    assert "Test samples change with the seed" in said
    assert "One seed" not in said
    assert "compared over" not in said


AUROC = CLASSIFICATION.metric("auroc")


def having(low, high, freedom=4.0) -> Comparison:
    """A comparison of that interval."""
    error = (high - low) / 2 / 1.959963984540054
    return Comparison((low + high) / 2, error**2, 0.0, freedom, (3, 3), 50)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.001, 0.1, "better"),
        (-0.1, -0.001, "worse"),
        (-MARGIN / 2, -0.001, "worse"),
        (-MARGIN + 0.001, 0.001, "no worse"),
        (-MARGIN - 0.001, 0.5, "not decided"),
        (-0.1, 0.1, "not decided"),
    ],
)
def test_words_follow_the_interval(low, high, word) -> None:
    assert verdict(having(low, high), AUROC) == word


def test_one_training_has_no_word() -> None:
    assert verdict(having(0.3, 0.4, freedom=None), AUROC) is None


def test_no_difference_at_all_is_no_worse() -> None:
    assert verdict(having(0.0, 0.0), AUROC) == "no worse"

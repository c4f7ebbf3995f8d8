import pytest

from ttl_lightning.report.choice import Choice
from ttl_lightning.report.headline import headline, recommended
from ttl_lightning.report.methods import group
from ttl_lightning.report.rows import Row
from ttl_lightning.report.statistics import Comparison


@pytest.fixture
def rows(run):
    """Full finetuning and a truncated network, compared as told: by metric (difference, p)."""

    def build(*, val=0.95, params=100, **tested) -> list[Row]:
        runs = [run("ftl", None, params=10_000), run(val=val, test=0.85, params=params)]
        ftl, ttl = group(runs)[0].methods
        comparisons = {
            metric: Comparison(d, d - 0.01, d + 0.01, p, 1, 50) for metric, (d, p) in tested.items()
        }
        return [
            Row(Choice(ftl, ""), None, {}, (), ""),
            Row(Choice(ttl, ""), ftl, comparisons, (), ""),
        ]

    return build


def test_a_measured_gain_is_claimed_with_its_evidence(rows) -> None:
    text = headline(rows(auroc=(0.05, 0.001), auprc=(0.06, 0.0001)))
    assert text == (
        "Take TTL (truncated) at block1.1: better than full finetuning in test AUROC (+0.050, 95 % "
        "interval +0.040 to +0.060, p = 0.001) and test AUPRC (+0.060, 95 % interval +0.050 to "
        "+0.070, p < 0.001), with 1.0 % of its parameters and 1.0 % of its MACs."
    )


def test_no_gain_is_claimed_where_none_was_measured(rows) -> None:
    text = headline(rows(auroc=(0.05, 0.06), auprc=(-0.02, 0.5)))
    assert text.startswith("Take TTL")
    assert "no measurable difference from full finetuning in test AUROC (+0.050" in text
    assert ") or test AUPRC (−0.020" in text
    assert "better" not in text
    assert "p = 0.060" in text
    assert "1.0 % of its parameters" in text


def test_mixed_findings_are_all_said(rows) -> None:
    text = headline(rows(auroc=(0.05, 0.01), auprc=(0.01, 0.5)))
    assert "better than full finetuning in test AUROC" in text
    assert "; no measurable difference from full finetuning in test AUPRC" in text


def test_a_loss_is_said_first_and_nothing_is_recommended(rows) -> None:
    text = headline(rows(auroc=(-0.05, 0.01), auprc=(0.01, 0.5)))
    assert "Take" not in text
    assert "but on the test samples it is worse than full finetuning in test AUROC (−0.050" in text


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

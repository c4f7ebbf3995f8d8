import pytest

from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.report.choice import Choice
from ttl_lightning.report.methods import group
from ttl_lightning.report.notes import notes
from ttl_lightning.report.rows import Row


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

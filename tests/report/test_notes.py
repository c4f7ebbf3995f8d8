import pytest

from ttl_lightning.report.choice import Choice
from ttl_lightning.report.comparison import Comparison
from ttl_lightning.report.methods import group
from ttl_lightning.report.notes import notes
from ttl_lightning.report.rows import Row


@pytest.fixture
def said(run):
    def build(*costs):
        runs = [run(seed=seed) for seed in range(len(costs))]
        for one, cpu in zip(runs, costs, strict=True):
            one.result.complexity["latency_ms"] = {"cpu": cpu} if cpu else {}
        (found,) = group(runs)
        return notes(found, [Row(Choice(found.methods[0], ""), None, {}, (), "7 test samples")])

    return build


def test_latencies_are_said_to_be_comparable_or_not(said) -> None:
    one, four = ({"median": 1.0, "batch_size": 1, "threads": t} for t in (1, 4))
    assert "(batch size 1, threads: 1)" in said(one, one)[0]
    assert "not all with the same batch size and threads" in said(one, four)[0]
    assert "(batch size 1, threads: 4)" in said(None, four)[0]
    assert "Latency" not in said(None, None)[0]


def test_a_sweep_without_full_finetuning_says_why_there_are_no_differences(said) -> None:
    assert said(None)[1:] == [
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

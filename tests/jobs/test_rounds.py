"""A search by a metric of which less is better, and what may be searched by at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ttl_lightning.errors import UnknownNameError
from ttl_lightning.jobs.rounds import Criterion, Search
from ttl_lightning.records.schema import RunResult
from ttl_lightning.search import Exhaustive, Incremental

ERRORS = {"block1.1": 0.3, "block2.1": 0.1, "block3.1": 0.2}
CLASSES = "ttl_lightning.tasks.classification.ClassificationTask"
TOY = "tests.tasks.toy_tasks.Regression"


def group(task):
    spec = SimpleNamespace(
        task=SimpleNamespace(options={"_target_": task}),
        data=SimpleNamespace(name="d"),
        backbone=SimpleNamespace(name="b"),
    )
    return SimpleNamespace(
        spec=spec,
        overrides=(),
        seeds=((),),
        strategy=SimpleNamespace(name="ttl"),
    )


def ended(search, trials):
    """Runs the search to its end on `ERRORS`; which cutoffs it tried."""
    tried = []
    while trials:
        tried += [trial.candidate for trial in trials]
        results = {}
        for trial in trials:
            run = RunResult("n", "d", "b", "ttl", trial.candidate, 1, 0, status="completed")
            run.metrics.update({"val/mae": ERRORS[trial.candidate]})
            results[trial] = [(trial.candidate, run)]
        trials = search.take(results)
    return tried


def test_the_least_error_is_chosen_and_kept_as_it_is(tmp_path) -> None:
    toy = group(TOY)
    sizes = dict.fromkeys(ERRORS, 1.0)
    search = Search(toy, Exhaustive(), Criterion.of(toy, None), sizes, tmp_path)
    assert ended(search, search.begin()) == list(ERRORS)
    entry = search.described()
    assert (entry["choice"], entry["metric"]) == ("block2.1", "val/mae")
    assert [trial["score"] for trial in entry["trials"]] == [0.3, 0.1, 0.2]
    assert "block2.1 scored best (-0.1)" in entry["reason"]
    assert entry["reason"].endswith(" Scores are -val/mae.")


def test_a_target_is_an_error_to_come_below(tmp_path) -> None:
    toy = group(TOY)
    criterion = Criterion.of(toy, "val/mae")
    method = Incremental(criterion.outcome(0.25).score)
    search = Search(toy, method, criterion, dict.fromkeys(ERRORS, 1.0), tmp_path)
    assert ended(search, search.begin()) == ["block3.1"]


def test_what_may_be_searched_by_the_task_says() -> None:
    assert Criterion.of(group(CLASSES), None) == Criterion("val/auprc", 1.0)
    assert Criterion.of(group(CLASSES), "val/f1") == Criterion("val/f1", 1.0)
    for task, metric in ((CLASSES, "val/ece"), (CLASSES, "test/auroc"), (TOY, "val/auprc")):
        with pytest.raises(UnknownNameError, match=r"unknown hydra\.sweeper\.metric .*val/"):
            Criterion.of(group(task), metric)

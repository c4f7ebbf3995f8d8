import csv
import io
import json
import time

import pytest

from ttl_lightning.errors import DataError
from ttl_lightning.report.collect import collect, summary_csv


def test_runs_are_found_at_any_depth_with_their_states(sweep_folder, result) -> None:
    sweep_folder.add("b/c/d", result(seed=1))
    sweep_folder.add("a", result(status="failed", error="OSError: one\ntwo \x1b[31m"))
    sweep_folder.add("e", result(status="paused"))
    found = collect(sweep_folder.root)
    assert [run.folder for run in found.runs] == ["a", "b/c/d", "e"]
    assert found.having("completed")[0].result.seed == 1
    assert found.having("failed")[0].cause == "OSError: one two [31m"
    assert found.unreadable == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"schema": 1, "na', "cannot be read"),
        ("", "cannot be read"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "not a result of schema 1"),
        ('{"schema": 2}', "not a result of schema 1"),
        ('{"schema": 1, "name": "x"}', "lacks a field"),
    ],
)
def test_a_broken_result_is_listed(sweep_folder, result, text, reason) -> None:
    sweep_folder.add("good", result())
    (sweep_folder.root / "bad").mkdir()
    (sweep_folder.root / "bad" / "result.json").write_text(text)
    found = collect(sweep_folder.root)
    assert [run.folder for run in found.runs] == ["good"]
    (name,) = found.unreadable
    assert name == "bad/result.json"
    assert reason in found.unreadable[name]
    assert str(sweep_folder.root) not in found.unreadable[name]


@pytest.mark.parametrize(
    ("field", "value"),
    [("metrics", "x"), ("metrics", None), ("seed", "0"), ("seed", True), ("status", "done"),
     ("overrides", {}), ("cutoff", 3), ("complexity", [1]), ("strategy", None)],
)  # fmt: skip
def test_a_field_of_another_kind_is_listed(sweep_folder, result, field, value) -> None:
    sweep_folder.add("a", result())
    path = sweep_folder.root / "a" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    (reason,) = collect(sweep_folder.root).unreadable.values()
    assert field in reason


def test_a_search_is_read(sweep_folder, result) -> None:
    sweep_folder.add("ttl/block1.1/seed0", result())
    sweep_folder.search(choice=None, reason="nothing\ncould be scored")
    (found,) = collect(sweep_folder.root).searches
    assert found.choice is None
    assert found.reason == "nothing could be scored"
    assert found.folders == {"ttl/block1.1/seed0"}
    assert (found.setting, found.taken) == ((), frozenset())


def test_a_comparison_is_read(sweep_folder, result) -> None:
    sweep_folder.add("ftl/full/seed0", result("ftl", None))
    chosen = {"cutoff": None, "overrides": ["trainer.max_epochs=3"], "folders": ["ftl/full/seed0"]}
    sweep_folder.search(choice=None, chosen=chosen)
    (found,) = collect(sweep_folder.root).searches
    assert found.setting == ("trainer.max_epochs=3",)
    assert found.taken == {"ftl/full/seed0"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "not a search of schema 1"),
        ({"trials": 3}, "lacks a field"),
        ({"trials": [{}]}, "lacks a field"),
        ({"choice": 3}, "lacks a field"),
        ({"chosen": {"folders": []}}, "lacks a field"),
        ({"chosen": 3}, "lacks a field"),
        ({"metric": "test/auroc"}, "chose by test/auroc"),
    ],
)
def test_a_search_that_cannot_be_used_is_listed(sweep_folder, result, changes, reason) -> None:
    sweep_folder.add("a", result())
    sweep_folder.search(**changes)
    found = collect(sweep_folder.root)
    assert found.searches == []
    assert len(found.runs) == 1
    assert reason in found.unreadable["search.json"]


def test_a_torn_search_is_listed(sweep_folder, result) -> None:
    sweep_folder.add("a", result())
    (sweep_folder.root / "search.json").write_text('{"schema": 1, ')
    assert "cannot be read" in collect(sweep_folder.root).unreadable["search.json"]


def test_a_folder_without_runs_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match="there is no folder"):
        collect(tmp_path / "missing")
    with pytest.raises(DataError, match=r"holds no result\.json"):
        collect(tmp_path)


def test_a_thousand_runs_are_collected_in_seconds(sweep_folder, result) -> None:
    for number in range(1000):
        path = sweep_folder.root / f"{number % 10}" / f"{number}"
        path.mkdir(parents=True)
        (path / "result.json").symlink_to(sweep_folder.root / "0" / "0" / "result.json")
        if not number:
            (path / "result.json").unlink()
            result().save(path)
    start = time.perf_counter()
    assert len(collect(sweep_folder.root).runs) == 1000
    assert time.perf_counter() - start < 5


def test_every_run_has_a_row_and_every_metric_a_column(run) -> None:
    failed = run("tf", "block2.1", 3, folder="x,y", status="failed", error='a "b"\nc')
    failed.result.metrics.clear()
    failed.result.complexity.clear()
    failed.result.train.clear()
    done = run(seed=1, place=4, overrides=["a.b=1"])
    done.result.metrics["test/f1"] = 0.25
    rows = list(csv.DictReader(io.StringIO(summary_csv([failed, done]))))
    assert len(rows) == 2
    assert rows[0]["folder"] == "x,y"
    assert rows[0]["error"] == 'a "b"\nc'
    assert (rows[0]["strategy"], rows[0]["cutoff"], rows[0]["seed"]) == ("tf", "block2.1", "3")
    assert {rows[0][key] for key in ("test/auroc", "params", "latency_ms", "epochs")} == {""}
    expected = {
        "folder": "ttl/block1.1/seed1", "status": "completed", "error": "", "data": "npz",
        "backbone": "net", "cutoff_index": "4", "val/auprc": "0.9", "test/f1": "0.25",
        "params": "1000", "trainable_params": "1000", "macs": "10000", "latency_ms": "1.0",
        "latency_ratio": "0.1",
        "epochs": "5", "best_epoch": "3", "wall_s": "1.5",
        "overrides": "strategy=ttl cutoff=block1.1 seed=1 a.b=1",
    }  # fmt: skip
    assert {key: rows[1][key] for key in expected} == expected

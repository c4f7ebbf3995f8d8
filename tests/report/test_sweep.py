import csv
import shutil

import pytest

from ttl_lightning.errors import DataError
from ttl_lightning.report.sweep import write


@pytest.fixture
def filled(sweep_folder, result):
    """Two strategies and seeds, and a run of every other state."""
    for seed in (0, 1):
        sweep_folder.add(f"ftl/{seed}", result("ftl", None, seed, params=9000), signal=1.0)
        for block in (1, 2):
            run = result("ttl", f"block{block}.1", seed, place=block, val=0.9 + block / 100)
            sweep_folder.add(f"ttl/{block}/{seed}", run, signal=1.0)
    for status in ("failed", "interrupted", "running", "paused"):
        run = result("tf", status=status, error="OSError: full" if status == "failed" else None)
        sweep_folder.add(status, run)
    (sweep_folder.root / "torn").mkdir()
    (sweep_folder.root / "torn" / "result.json").write_text("{")
    return sweep_folder


def test_everything_is_counted_and_written(filled) -> None:
    summary = write(filled.root)
    states = (summary.completed, summary.failed, summary.interrupted, summary.running,
              summary.paused, summary.unreadable)  # fmt: skip
    assert states == (6, 1, 1, 1, 1, 1)
    assert summary.causes == ["failed: OSError: full"]
    assert summary.page == filled.root / "report.html"
    files = {path.name for path in filled.root.iterdir() if path.is_file()}
    assert files == {
        "summary.csv", "table.md", "table.tex", "report.html",
        *(f"{name}-npz-net.{kind}" for name in ("cutoffs", "tradeoff")
          for kind in ("png", "pdf", "svg")),
    }  # fmt: skip
    with (filled.root / "summary.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    assert [row["error"] for row in rows if row["status"] == "failed"] == ["OSError: full"]
    assert "block2.1" in (filled.root / "table.md").read_text()
    assert "block1.1" not in (filled.root / "table.md").read_text()
    assert "\\toprule" in (filled.root / "table.tex").read_text()


@pytest.mark.slow
def test_writing_again_changes_nothing(filled) -> None:
    write(filled.root)
    names = ("summary.csv", "table.md", "table.tex", "report.html")
    before = [(filled.root / name).read_bytes() for name in names]
    write(filled.root)
    assert [(filled.root / name).read_bytes() for name in names] == before


@pytest.mark.slow
def test_each_backbone_and_data_set_has_its_own_figures(sweep_folder, result) -> None:
    for folder, data in (("a", "x/y"), ("b", "x?y")):
        sweep_folder.add(folder, result(data=data))
    summary = write(sweep_folder.root)
    assert len(list(sweep_folder.root.glob("cutoffs-*.png"))) == 2
    assert len(list(sweep_folder.root.glob("tradeoff-*.png"))) == 2
    assert [title for title, _ in summary.tables] == ["x/y · net", "x?y · net"]
    assert len(summary.headlines) == 2


def test_a_sweep_of_failures_has_a_report_too(sweep_folder, result) -> None:
    sweep_folder.add("a", result(status="failed", error=None))
    summary = write(sweep_folder.root)
    assert summary.causes == ["a: no cause was recorded"]
    assert (summary.tables, summary.headlines) == ([], [])
    assert "No run is completed" in summary.page.read_text()
    assert not list(sweep_folder.root.glob("*.png"))


@pytest.mark.slow
def test_names_that_mean_something_to_others_are_only_names(sweep_folder, result) -> None:
    run = result("$x_{$", "b$^", data="../$a$", backbone="n\nm", overrides=["+a=$\\frac$"])
    sweep_folder.add("a", run)
    summary = write(sweep_folder.root)
    assert {path.parent for path in sweep_folder.root.parent.rglob("*.png")} == {sweep_folder.root}
    assert summary.tables[0][0] == "../$a$ · n m"


def test_nothing_is_written_without_runs(tmp_path) -> None:
    with pytest.raises(DataError, match=r"holds no result\.json"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_runs_without_metrics_or_costs_do_not_stop_it(sweep_folder, result) -> None:
    run = result()
    run.metrics.clear()
    run.complexity.clear()
    run.train.clear()
    run.model.clear()
    sweep_folder.add("a", run)
    other = result("ftl", None, val=None, test=None)
    sweep_folder.add("b", other, signal=1.0)
    summary = write(sweep_folder.root)
    assert summary.headlines == ["There is no model to take: no completed run has val/auprc."]
    shutil.rmtree(sweep_folder.root)

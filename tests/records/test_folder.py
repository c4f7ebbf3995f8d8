import ast
from pathlib import Path

import ttl_lightning
from ttl_lightning.records import folder
from ttl_lightning.records.folder import RunFolder, SweepFolder

PACKAGE = Path(ttl_lightning.__file__).parent
NAMES = {
    *("config.yaml", "result.json", "best.ckpt", "last.ckpt", "checkpoints", "metrics.csv"),
    *("predictions.csv", "job.log", ".lock", ".run.lock", ".run.json", "analysis"),
    *("search.json", "summary.csv", "report.html", "precision.json", "table.md", "table.tex"),
}


def test_the_files_of_a_run_are_where_they_were() -> None:
    run = RunFolder(Path("r"))
    found = {
        *(run.config, run.result, run.history, run.predictions, run.best, run.last, run.log),
        *(run.lock, run.holder, run.job_lock, run.analysis, run.figure("roc")),
    }
    assert {path.as_posix() for path in found} == {
        *("r/config.yaml", "r/result.json", "r/metrics.csv", "r/predictions.csv", "r/roc.png"),
        *("r/checkpoints/best.ckpt", "r/checkpoints/last.ckpt", "r/job.log", "r/analysis"),
        *("r/.run.lock", "r/.run.json", "r/.lock"),
    }
    assert RunFolder.of_checkpoint(run.last) == run


def test_a_sweep_lists_the_runs_that_recorded_something_at_any_depth(tmp_path) -> None:
    for place in ("b", "a/1", "a"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "result.json").touch()
    (tmp_path / "c").mkdir()
    runs = SweepFolder(tmp_path).runs()
    assert [run.path.relative_to(tmp_path).as_posix() for run in runs] == ["a/1", "a", "b"]


def test_no_other_module_knows_a_name() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path == Path(folder.__file__):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        assert not NAMES & texts, path

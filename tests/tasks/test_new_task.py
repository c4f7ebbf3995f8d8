"""A task and a metric that the package does not have, from training to the report of a sweep."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss, mean_absolute_error, r2_score

import ttl_lightning as ttl
from tests.tasks.toy_tasks import Regression, WithBrier
from ttl_lightning.errors import ConfigError, DataError, UnknownNameError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report import sweep
from ttl_lightning.report.collect import Run
from ttl_lightning.report.methods import group
from ttl_lightning.tasks import registry
from ttl_lightning.tasks.base import Task
from ttl_lightning.tasks.classification_report import CLASSIFICATION

SMALL = [
    "backbone=test_resnet", "backbone.weights=null", "data.image_size=32", "data.train_size=24",
    "data.val_size=16", "data.test_size=15", "protocol.batch_size=8", "trainer.accelerator=cpu",
    "trainer.precision=32-true", "trainer.max_epochs=2",
]  # fmt: skip
TOY = [
    *SMALL, "task._target_=tests.tasks.toy_tasks.Regression",
    "data._target_=tests.tasks.toy_tasks.Brightness",
    "protocol.monitor=val/mae", "protocol.monitor_mode=min",
]  # fmt: skip
RUNS = {"ftl": ["strategy=ftl"], "ttl": ["strategy=ttl", "cutoff=block2"]}


@pytest.fixture(scope="module")
def regressions(tmp_path_factory):
    """Two runs in a sweep's folder."""
    root = tmp_path_factory.mktemp("sweep")
    for name, overrides in RUNS.items():
        ttl.train(overrides=[*TOY, *overrides], run_dir=root / name)
    return root


def test_a_new_task_is_trained_scored_and_written_down(regressions) -> None:
    result = json.loads((regressions / "ttl/result.json").read_text())
    assert result["status"] == "completed"
    with (regressions / "ttl/predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    assert len({row["id"] for row in rows}) == len(rows) == 15
    true, predicted = (np.array([float(r[k]) for r in rows]) for k in ("value", "prediction"))
    assert result["metrics"]["test/mae"] == pytest.approx(mean_absolute_error(true, predicted))
    assert result["metrics"]["test/r2"] == pytest.approx(r2_score(true, predicted), rel=1e-5)
    assert result["metrics"]["test/loss"] == pytest.approx(np.mean((true - predicted) ** 2))
    with (regressions / "ttl/metrics.csv").open() as file:
        epochs = [float(row["val/mae"]) for row in csv.DictReader(file)]
    assert result["train"]["best_epoch"] == epochs.index(min(epochs))
    assert not (regressions / "ttl/roc.png").exists()


def test_a_new_task_is_loaded_and_predicts(regressions) -> None:
    predictor = ttl.load(regressions / "ttl")
    assert type(predictor.task) is Regression
    assert predictor.class_names == ()
    assert predictor(torch.rand(3, 3, 32, 32)).shape == (3, 1)
    with pytest.raises(ConfigError, match="no optimizer"):
        predictor.task.configure_optimizers()


def test_the_report_of_a_new_task_has_its_table_and_its_test(regressions) -> None:
    summary = sweep.write(regressions)
    table = (regressions / "table.md").read_text()
    assert "| test MAE | test R² |" in table
    assert "MAE − FTL (95 % interval)" in table
    runs = {name: RunResult.load(regressions / name) for name in RUNS}
    val, test = ({n: r.metrics[f"{s}/mae"] for n, r in runs.items()} for s in ("val", "test"))
    assert f"{test['ttl'] - test['ftl']:.3f}".lstrip("-") in table
    best = "TTL (truncated)" if val["ttl"] < val["ftl"] else "full finetuning"
    assert best in summary.headlines[0].partition(",")[0]
    page = (regressions / "report.html").read_text()
    assert "MAE against the cutoff" in page
    assert "AUPRC" not in page


def test_where_the_task_is_unknown_the_report_has_its_metrics(regressions, monkeypatch) -> None:
    monkeypatch.setattr(registry, "_reports", {})
    monkeypatch.setattr(registry, "_tasks", {})
    sweep.write(regressions)
    table = (regressions / "table.md").read_text()
    assert "| test MAE | test R² |" in table
    assert "MAE − FTL" not in table
    assert "not known here: import the package" in (regressions / "report.html").read_text()
    with pytest.raises(DataError, match="'toy regression' is not known"):
        ttl.load(regressions / "ttl")


def test_a_lower_error_is_better_in_the_choice_and_in_bold(tmp_path) -> None:
    runs = []
    for strategy, error in (("ftl", 0.3), ("ffe", 0.2)):
        result = RunResult("n", "d", "b", strategy, None, None, 0, status="completed")
        result.metrics.update({"val/mae": error, "test/mae": error, "test/r2": error})
        result.model.update({"report": Regression.report.declared()})
        runs.append(Run(strategy, result))
        result.save(_made(tmp_path / strategy))
    (found,) = group(runs)
    assert found.report is Regression.report
    summary = sweep.write(tmp_path)
    assert summary.headlines[0].startswith("Take fixed features")
    rows = {row[0].text: row for row in summary.tables[0][1].rows}
    assert [rows["fixed features"][k].bold for k in (3, 4)] == [True, False]
    assert [rows["full finetuning"][k].bold for k in (3, 4)] == [False, True]


def test_a_metric_more_is_monitored_and_reported(tmp_path) -> None:
    monitored = ["protocol.monitor=val/brier", "protocol.monitor_mode=min"]
    target = "task._target_=tests.tasks.toy_tasks.WithBrier"
    result = ttl.train(overrides=[*SMALL, target, *monitored], run_dir=tmp_path / "run")
    with (tmp_path / "run/predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    positive = rows[0].keys() - {"id", "split", "label", "probability/normal"}
    (name,) = positive
    truth = [f"probability/{row['label']}" == name for row in rows]
    expected = 2 * brier_score_loss(truth, [float(row[name]) for row in rows])
    assert result.metrics["test/brier"] == pytest.approx(expected)
    assert result.metrics["test/auprc"] is not None
    sweep.write(tmp_path)
    assert "| test AUPRC | test Brier score |" in (tmp_path / "table.md").read_text()
    assert type(ttl.load(tmp_path / "run").task) is WithBrier


def test_a_monitor_of_another_task_is_refused(tmp_path) -> None:
    with pytest.raises(UnknownNameError, match=r"'val/auprc'.* Allowed: val/loss, val/mae, val/r2"):
        ttl.train(overrides=[*TOY, "protocol.monitor=val/auprc"], run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match="monitor_mode=max chooses the worst epoch by val/mae"):
        ttl.train(overrides=[*TOY, "protocol.monitor_mode=max"], run_dir=tmp_path / "run")
    wrong = "task._target_=ttl_lightning.data.sources.phantom.PhantomSource"
    with pytest.raises(ConfigError, match=r"^task\._target_=.*PhantomSource is no task"):
        ttl.train(overrides=[*SMALL, wrong], run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_probe_of_another_task_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigError, match="is not for the task toy regression"):
        ttl.train(overrides=[*TOY, "protocol.head_init=probe"], run_dir=tmp_path / "run")


def test_a_name_of_the_packages_own_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is a task 'classification' in ttl_lightning"):

        class Other(Task):
            report = replace(CLASSIFICATION, primary="auroc")


def _made(folder):
    folder.mkdir()
    return folder

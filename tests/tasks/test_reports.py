"""What a task's report says of its metrics, and what it refuses."""

from __future__ import annotations

import pytest

from tests.tasks.toy_tasks import Regression
from ttl_lightning.errors import ConfigError, UnknownNameError
from ttl_lightning.tasks.classification_report import CLASSIFICATION
from ttl_lightning.tasks.reports import Metric, TaskReport


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("val/auroc", "validation AUROC"),
        ("test/auprc/edema", "test AUPRC edema"),
        ("test/loss", "test loss"),
    ],
)
def test_a_key_has_words_for_people(key, label) -> None:
    assert CLASSIFICATION.label(key) == label


def test_a_metric_is_found_by_any_of_its_keys() -> None:
    assert CLASSIFICATION.metric("auroc") is CLASSIFICATION.metric("val/auroc/edema")
    assert Regression.report.metric("test/mae").sign == -1
    with pytest.raises(UnknownNameError, match=r"unknown metric 'loss'.* Allowed: mae, r2\."):
        Regression.report.metric("val/loss")


def test_its_declaration_has_what_the_metrics_are() -> None:
    again = TaskReport.of_declared(Regression.report.declared())
    assert (again.name, again.criterion) == ("toy regression", "val/mae")
    assert [(m.label, m.direction, m.paired) for m in again.table] == [
        ("MAE", "min", None), ("R²", "max", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("monitor", "mode", "text"),
    [
        ("val/loss", "max", "protocol.monitor_mode=max chooses the worst epoch by val/loss"),
        ("val/ece", "max", "give min"),
        ("val/auroc/edema", "min", "give max"),
        ("test/auroc", "max", "unknown protocol.monitor 'test/auroc'"),
        ("val/mae", "min", "unknown protocol.monitor 'val/mae'"),
    ],
)
def test_a_monitor_is_of_validation_and_chooses_the_best(monitor, mode, text) -> None:
    CLASSIFICATION.check_monitor("val/ece", "min")
    with pytest.raises(ConfigError, match=text):
        CLASSIFICATION.check_monitor(monitor, mode)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"primary": "mse"}, "metric of task t 'mse'"),
        ({"reported": ("mae", "x")}, "metric of task t 'x'"),
        ({"metrics": (Metric("mae", "MAE"), Metric("mae", "MAE"))}, "each metric once"),
        ({"metrics": (Metric("loss", "loss"), Metric("mae", "MAE"))}, "no loss"),
    ],
)
def test_a_report_that_names_no_metric_of_its_own_is_refused(changes, text) -> None:
    usual = {"metrics": (Metric("mae", "MAE"),), "primary": "mae", "reported": ("mae",)}
    given = {"name": "t", **usual, "columns": Regression.report.columns}
    with pytest.raises(ConfigError, match=text):
        TaskReport(**(given | changes), read=Regression.report.read)

"""Which task a run was of, from what its result says."""

from __future__ import annotations

import json
import shutil

import pytest

import ttl_lightning as ttl
from ttl_lightning.errors import DataError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.sweep import write
from ttl_lightning.tasks.classification import ClassificationTask
from ttl_lightning.tasks.classification_report import CLASSIFICATION
from ttl_lightning.tasks.registry import report_of

OTHER = {
    "name": "x",
    "primary": "mse",
    "reported": ["mse"],
    "metrics": [{"name": "mse", "label": "M\x1b[31m$E", "direction": "min"}],
}


def changed(folder, target, **changes):
    """A copy of a run whose result says something else of its model; None: nothing."""
    shutil.copytree(folder, target)
    path = target / "result.json"
    content = json.loads(path.read_text())
    content["model"] |= changes
    content["model"] = {key: v for key, v in content["model"].items() if v is not None}
    path.write_text(json.dumps(content))
    return target


def test_a_result_says_its_task(cut) -> None:
    result = RunResult.load(cut)
    assert report_of(result) is CLASSIFICATION
    assert result.model["report"]["primary"] == "auprc"
    assert {"name": "ece", "label": "ECE", "direction": "min"} in result.model["report"]["metrics"]


@pytest.mark.slow
def test_a_result_of_before_there_were_other_tasks_is_of_classification(cut, tmp_path) -> None:
    old = changed(cut, tmp_path / "old", report=None, outputs=None)
    assert report_of(RunResult.load(old)) is CLASSIFICATION
    predictor = ttl.load(old)
    assert type(predictor.task) is ClassificationTask
    assert predictor.class_names == ttl.load(cut).class_names
    assert "test AUPRC" in write(tmp_path).tables[0][1].columns


def test_what_an_unknown_task_declares_is_text(cut, tmp_path) -> None:
    odd = changed(cut, tmp_path / "odd", report=OTHER)
    assert report_of(RunResult.load(odd)).label("val/mse") == "validation M[31m$E"
    summary = write(tmp_path)  # a dollar sign begins no formula in a figure
    assert "no completed run has val/mse" in summary.headlines[0]


@pytest.mark.parametrize(
    "report",
    [
        "x", ["x"], {}, {"name": 3}, {"name": "x"}, OTHER | {"metrics": 3},
        OTHER | {"metrics": ["a"]}, OTHER | {"primary": "other"}, OTHER | {"reported": None},
    ],
)  # fmt: skip
def test_a_damaged_declaration_is_one_line_and_the_run_is_left_out(cut, tmp_path, report) -> None:
    broken = changed(cut, tmp_path / "broken", report=report)
    with pytest.raises(DataError, match=r"^model\.report ") as caught:
        report_of(RunResult.load(broken))
    assert "\n" not in str(caught.value)
    assert write(tmp_path).unreadable == 1

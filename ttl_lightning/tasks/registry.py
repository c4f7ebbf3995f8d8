"""The tasks that are known here, by the names that results have them under; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.records.schema import RunResult
from ttl_lightning.tasks.classification_report import CLASSIFICATION
from ttl_lightning.tasks.regression_report import REGRESSION
from ttl_lightning.tasks.reports import TaskReport
from ttl_lightning.tasks.segmentation_report import SEGMENTATION

OWN = {report.name: report for report in (CLASSIFICATION, SEGMENTATION, REGRESSION)}
_reports: dict[str, TaskReport] = {}
_tasks: dict[str, type] = {}


def register(report: TaskReport, task: type) -> None:
    """Make a task known, which deriving from `tasks.base.Task` does; of one name the last counts.

    Raises:
        ConfigError: if it has the name of one of the package's own.
    """
    if OWN.get(report.name, report) is not report:
        raise ConfigError(f"there is a task {report.name!r} in ttl_lightning: give another name.")
    _reports[report.name], _tasks[report.name] = report, task


def task_of(result: RunResult) -> type:
    """The class of a run's task, if it was imported; nothing is imported for a file's sake.

    Raises:
        DataError: if it was not.
    """
    name = report_of(result).name
    if name not in _tasks:
        raise DataError(f"the run's task {name!r} is not known: import the package that has it.")
    return _tasks[name]


def report_of(result: RunResult) -> TaskReport:
    """The report of the task that a run was of; of one that is not known here, its declaration.

    Nothing that the result names is imported: its file may come from anyone.

    Raises:
        DataError: if it declares none.
    """
    declared: Any = result.model.get("report")
    if declared is None:  # a result of before there were others
        return CLASSIFICATION
    if not isinstance(declared, Mapping) or not isinstance(declared.get("name"), str):
        raise DataError(f"model.report must name a task, got {str(declared)[:40]!r}.")
    known = {**_reports, **OWN}
    return known.get(declared["name"]) or TaskReport.of_declared(declared)

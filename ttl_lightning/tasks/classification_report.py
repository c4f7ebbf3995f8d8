"""The report of classification: which metrics there are, how they are tested and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ttl_lightning.metrics.bootstrap import WITHOUT, bootstrap_intervals
from ttl_lightning.metrics.class_predictions import (
    Predictions,
    answer_columns,
    class_columns,
    scored_classes,
)
from ttl_lightning.metrics.learnt import RARE, at_chance, one_class_alone
from ttl_lightning.metrics.paired import METRICS, Scored
from ttl_lightning.metrics.predictions import Columns
from ttl_lightning.tasks.reports import Described, Fault, Metric, Outcome, PairedTest, TaskReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A loss of AUROC or AUPRC that is small enough to be outweighed by a smaller model.
MARGIN = 0.02
MOST_WRONG = "most_wrong.png"
WRONG = "the test samples that it is most wrong about, the worst first"
_test = partial(PairedTest, margin=MARGIN, widest=1.0)


def _columns(table: Predictions, described: Described) -> Columns:
    return class_columns(table, described["class_names"])


def _read(columns: Columns, described: Described) -> Scored:
    return scored_classes(columns, described.get("task"))


def _intervals(
    table: Predictions, described: Described, patients: Sequence[str] | None
) -> dict[str, tuple[float, float] | None]:
    return bootstrap_intervals(
        table.probabilities, table.labels, described["task"], patients=patients
    )


def _answers(table: Predictions, described: Described, operating: Mapping[str, Any]) -> Columns:
    return answer_columns(
        table, described["task"], described["class_names"], operating.get("thresholds", {})
    )


def _figures(found: Outcome) -> dict[str, Figure]:
    # not where tables are made
    from ttl_lightning.tasks.curves import Marks, pr_figure, roc_figure
    from ttl_lightning.tasks.decision_figures import confusion_figure, reliability_figure

    task, names = found.described["task"], found.described["class_names"]
    at = found.operating.get("thresholds", {})
    given = found.splits, task, names, Marks(at, found.patients)
    figures = {"roc": roc_figure(*given), "pr": pr_figure(*given)}
    test = found.splits.get("test")
    if test is not None and np.isfinite(test.probabilities).all():
        figures["confusion"] = confusion_figure(test, task, names, at)
        temperature = found.calibration.get("temperature")
        figures["reliability"] = reliability_figure(test, task, temperature)
    return figures


CLASSIFICATION = TaskReport(
    name="classification",
    metrics=(
        Metric("auroc", "AUROC", paired=_test(METRICS["auroc"], "DeLong")),
        Metric("auprc", "AUPRC", paired=_test(METRICS["auprc"], "the jackknife")),
        Metric("auprc_trapezoid", "AUPRC (trapezoids)"),
        Metric("accuracy", "accuracy"),
        Metric("f1", "F1"),
        Metric("sensitivity", "sensitivity"),
        Metric("specificity", "specificity"),
        Metric("ece", "ECE", "min", chooses=False, no_interval=WITHOUT["ece"]),
    ),
    primary="auprc",
    reported=("auroc", "auprc"),
    shown=("auroc", "auprc", "accuracy", "f1", "sensitivity", "specificity", "ece"),
    drawn=("auroc", "auprc", "accuracy", "f1"),
    columns=_columns,
    read=_read,
    intervals=_intervals,
    figures=_figures,
    answers=_answers,
    pictures={MOST_WRONG: WRONG},
    rising=0.02,
    faults=(
        Fault(
            "predicts one class alone",
            "one class is its likeliest for every test sample while another has "
            f"{100 * RARE:.0f} % of them or more",
            lambda table, described: one_class_alone(table, described.get("task")),
        ),
        Fault(
            "its test AUROC is not above chance",
            "the 95 % interval of its test AUROC reaches 0.5",
            lambda table, _: at_chance(table),
        ),
    ),
)

"""The report of classification: which metrics there are, how they are tested and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ttl_lightning.metrics.bootstrap import WITHOUT, bootstrap_intervals
from ttl_lightning.metrics.class_predictions import Predictions, class_columns, scored_classes
from ttl_lightning.metrics.learnt import RARE, at_chance, one_class_alone
from ttl_lightning.metrics.paired import METRICS, Scored
from ttl_lightning.metrics.predictions import Columns
from ttl_lightning.tasks.reports import Described, Fault, Metric, PairedTest, TaskReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A loss of AUROC or AUPRC that is small enough to be outweighed by a smaller model.
MARGIN = 0.02
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


def _figures(splits: Mapping[str, Predictions], described: Described) -> dict[str, Figure]:
    from ttl_lightning.tasks.curves import pr_figure, roc_figure  # not where tables are made

    given = splits, described["task"], described["class_names"]
    return {"roc": roc_figure(*given), "pr": pr_figure(*given)}


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

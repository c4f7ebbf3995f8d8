"""The report of regression: which metrics there are, how they are tested and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ttl_lightning.metrics.paired import Scored
from ttl_lightning.metrics.predictions import Columns, numbers
from ttl_lightning.metrics.regression import Numbers, intervals, r2_parts
from ttl_lightning.tasks.classification_report import MOST_WRONG, WRONG
from ttl_lightning.tasks.reports import Described, Fault, Metric, Outcome, PairedTest, TaskReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A loss of explained variance that is small enough to be outweighed by a smaller model.
MARGIN = 0.02
VALUE, PREDICTION = "value/", "prediction/"


def _columns(table: Numbers, described: Described) -> Columns:
    names = described["targets"]
    return _named(VALUE, names, table.true) | _named(PREDICTION, names, table.predicted)


def _named(prefix: str, names: Sequence[str], values: Any) -> dict[str, list[str]]:
    return {
        prefix + name: [f"{value:.9g}" for value in column]
        for name, column in zip(names, values.T, strict=True)
    }


def _read(columns: Columns, _: Described) -> Scored:
    names = [name.removeprefix(VALUE) for name in columns if name.startswith(VALUE)]
    predicted = numbers(columns, [PREDICTION + name for name in names], f"{PREDICTION}…")
    return Scored(tuple(columns["id"]), predicted, numbers(columns, [VALUE + n for n in names]))


def _intervals(
    table: Numbers, _: Described, patients: Sequence[str] | None
) -> dict[str, tuple[float, float] | None]:
    return intervals(table, patients)


def _answers(table: Numbers, described: Described, _: Mapping[str, Any]) -> Columns:
    return _named(PREDICTION, described["targets"], table.predicted)


def _figures(found: Outcome) -> dict[str, Figure]:
    from ttl_lightning.tasks.scatter import scatter_figure  # not where tables are made

    return {"scatter": scatter_figure(found.splits, found.described["targets"])}


def _explains_nothing(table: Scored, _: Described) -> bool:
    return r2_parts(table)[0] <= 0


REGRESSION = TaskReport(
    name="regression",
    metrics=(
        Metric("r2", "R²", paired=PairedTest(r2_parts, "its influence function", MARGIN)),
        Metric("mae", "mean absolute error", "min"),
        Metric("mse", "mean squared error", "min"),
    ),
    primary="r2",
    reported=("r2", "mae"),
    columns=_columns,
    read=_read,
    intervals=_intervals,
    figures=_figures,
    answers=_answers,
    pictures={MOST_WRONG: WRONG},
    rising=0.02,
    faults=(
        Fault(
            "is no better than the test samples' mean",
            "its test R² is 0 or below",
            _explains_nothing,
        ),
    ),
)

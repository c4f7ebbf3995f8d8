"""The two tables that the report shows."""

from __future__ import annotations

from collections.abc import Sequence

from ttl_lightning.errors import one_line
from ttl_lightning.pages.table import Cell, Table
from ttl_lightning.pages.text import MINUS, NONE, amount, p_value, percent, signed, spread
from ttl_lightning.report.compare import Choice, Row
from ttl_lightning.report.methods import BASELINE, Group, Method, cheaper
from ttl_lightning.report.words import verdict
from ttl_lightning.tasks.reports import Metric, TaskReport

# What has fewer of it is the better model.
_COSTS = {"params": amount, "macs": amount, "latency_ratio": percent}
COST_NAMES = ("parameters", "MACs", "CPU latency (of the whole)")


def main_table(rows: Sequence[Row], report: TaskReport) -> Table:
    """Every strategy at its chosen cutoff, and its difference from full finetuning if there is one.

    Source:
        Sun et al., TruncatedTL, table 1, with the tests added.
    """
    tested = [m for m in report.table if m.paired] if any(row.baseline for row in rows) else []
    best = {f"test/{m.name}": _best(rows, m) for m in report.table}
    lines = []
    for row in rows:
        method = row.method
        cells = [Cell(text) for text in _settled(method)]
        for key, top in best.items():
            mean = method.mean(key)
            cells.append(Cell(spread(method.values(key)), mean is not None and mean == top))
        for key, form in _COSTS.items():
            cells.append(Cell(form(method.cost(key)), _least(row, rows, key)))
        lines.append(cells + _differences(row, tested))
    columns = ["method", "cutoff", "seeds", *map(report.label, best), *COST_NAMES]
    for metric in tested:
        columns += [f"{metric.label} {MINUS} {BASELINE.upper()} (95 % interval)", "p"]
    return Table(tuple(columns), lines)


def full_table(group: Group, choices: Sequence[Choice]) -> Table:
    """Every method of the group, the chosen ones marked."""
    chosen = {id(choice.method) for choice in choices}
    report = group.report
    metrics = [f"{split}/{name}" for split in ("val", "test") for name in report.reported]
    lines = []
    for method in group.methods:
        mark = " ✓" if id(method) in chosen and (method.cutoff or method.tuned) else ""
        cells = _settled(method, mark)
        cells += [spread(method.values(metric)) for metric in metrics]
        cells += [form(method.cost(key)) for key, form in _COSTS.items()]
        cells.append(amount(method.cost("trainable_params")))
        lines.append([Cell(text) for text in cells])
    named = map(report.label, metrics)
    return Table(("method", "cutoff", "seeds", *named, *COST_NAMES, "trained"), lines)


def _settled(method: Method, mark: str = "") -> list[str]:
    return [method.name, one_line(method.cutoff or NONE) + mark, str(len(method.runs))]


def _differences(row: Row, tested: Sequence[Metric]) -> list[Cell]:
    cells = []
    for metric in tested:
        found = row.comparisons.get(metric.name)
        if found is None:
            cells += [Cell(NONE), Cell(NONE)]
            continue
        interval, p = " to ".join(map(signed, found.interval)), NONE
        word = verdict(found, metric) or "one seed"
        if found.p_value is None:
            interval = f"test samples alone: {interval}"
        else:
            p = p_value(found.p_value).removeprefix("p ").removeprefix("= ")
        cells += [Cell(signed(found.difference), aside=f"({interval})"), Cell(p, aside=f"({word})")]
    return cells


def _best(rows: Sequence[Row], metric: Metric) -> float | None:
    means = (row.method.mean(f"test/{metric.name}") for row in rows)
    known = [mean for mean in means if mean is not None]
    return max(known, key=lambda mean: metric.sign * mean, default=None)


def _least(row: Row, rows: Sequence[Row], key: str) -> bool:
    """Whether no other row's cost is lower beyond noise."""
    own = row.method.span(key)
    others = (span for other in rows if (span := other.method.span(key)))
    return own is not None and not any(cheaper(other, own) for other in others)

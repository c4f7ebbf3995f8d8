"""One sentence for each data set and backbone: which model to take, and what is known of it."""

from __future__ import annotations

from collections.abc import Sequence

from ttl_lightning.errors import one_line
from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.report.choice import best
from ttl_lightning.report.methods import BASELINE, Method
from ttl_lightning.report.rows import Row
from ttl_lightning.report.text import NONE, amount, count, p_value, share, signed
from ttl_lightning.report.verdict import verdict

# In the order in which they are said.
WORDS = {
    "worse": "worse than full finetuning in {}",
    "better": "better than full finetuning in {}",
    "no worse": "no worse than full finetuning, by a margin of {margin}, in {}",
    "not decided": "not decided against full finetuning in {}",
}


def recommended(rows: Sequence[Row]) -> Row | None:
    """The row of the best mean criterion, the smaller model of equals."""
    winner = best(row.method for row in rows)
    return next((row for row in rows if row.method is winner), None)


def headline(rows: Sequence[Row]) -> str:
    """Which model to take, and how it stands against full finetuning on the test samples."""
    row = recommended(rows)
    if row is None:
        missing = "no run is completed"
        if rows:
            missing = f"no completed run has {rows[0].method.report.criterion}"
        return f"There is no model to take: {missing}."
    name = title(row.method)
    if faults := _faults(row):
        return (
            f"No recommendation: {faults}. The best on the validation split is {name}, with "
            f"{_scores(row.method)}{_size(row.method)}."
        )
    if row.method.strategy == BASELINE:
        return (
            f"Take {name}: it is the best on the validation split, with "
            f"{_scores(row.method)}{_size(row.method)}."
        )
    if row.baseline is None:
        return (
            f"Take {name}: it is the best on the validation split, with "
            f"{_scores(row.method)}{_size(row.method)}. "
            "There is no full finetuning to compare it with."
        )
    if all(found.freedom is None for found in row.comparisons.values()):
        return (
            f"Take {name}: it is the best on the validation split, with {_scores(row.method)}, "
            f"against {_scores(row.baseline)} of full finetuning{_cost(row)}. {_untested(row)}"
        )
    return _verdict(row, name)


def title(method: Method) -> str:
    """`TTL (truncated) at block3.2`."""
    return f"{method.name} at {one_line(method.cutoff)}" if method.cutoff else method.name


def _faults(row: Row) -> str:
    """Which side has not learnt, and how one sees it."""
    sides = [(title(row.method), row.learnt)]
    if row.baseline is not None:
        sides.append((title(row.baseline), row.baseline_learnt))
    found = [f"{name} has not learnt ({side.text})" for name, side in sides if side.failed]
    return " and ".join(found)


def _untested(row: Row) -> str:
    if not row.comparisons:
        return "Whether this is more than chance could not be tested."
    return (
        "Whether this is more than chance cannot be said: one seed does not tell what another "
        "training would come to."
    )


def _verdict(row: Row, name: str) -> str:
    reported = row.method.report.table
    tested = [metric for metric in reported if metric.name in row.comparisons]
    found: dict[tuple[str, float], list[str]] = {}
    for metric in tested:
        comparison = row.comparisons[metric.name]
        word = str(verdict(comparison, metric))
        margin = metric.paired.margin if metric.paired and word == "no worse" else 0.0
        text = f"test {metric.label} {_evidence(comparison)}"
        found.setdefault((word, margin), []).append(text)
    findings = "; ".join(
        WORDS[word].format(" and ".join(found[word, margin]), margin=margin)
        for word, margin in sorted(found, key=lambda key: [*WORDS].index(key[0]))
    )
    untested = [metric.label for metric in reported if metric.paired and metric not in tested]
    tail = f" Its {' and '.join(untested)} could not be tested." if untested else ""
    if any(word == "worse" for word, _ in found):
        return (
            f"{name} is the best on the validation split, but on the test samples it is "
            f"{findings}{_cost(row)}.{tail}"
        )
    return f"Take {name}: {findings}{_cost(row)}.{tail}"


def _evidence(comparison: Comparison) -> str:
    low, high = comparison.interval
    interval = f"95 % interval {signed(low)} to {signed(high)}"
    p = comparison.p_value
    assert p is not None  # of one training nothing is said here
    return f"({signed(comparison.difference)}, {interval}, {p_value(p)})"


def _scores(method: Method) -> str:
    return (
        " and ".join(
            f"test {metric.label} {NONE if mean is None else f'{mean:.3f}'}"
            for metric in method.report.table
            for mean in [method.mean(f"test/{metric.name}")]
        )
        + f" over {count(len(method.runs), 'seed')}"
    )


def _size(method: Method) -> str:
    params = method.cost("params")
    return "" if params is None else f", {amount(params)} parameters"


def _cost(row: Row) -> str:
    """Its size beside full finetuning's, as the end of a clause."""
    assert row.baseline is not None  # callers have compared with it
    costs = {key: (row.method.cost(key), row.baseline.cost(key)) for key in ("params", "macs")}
    shares = {key: share(*pair) for key, pair in costs.items()}
    same = [ours == theirs for ours, theirs in costs.values()]
    if None in shares.values():
        return ""
    if all(same):
        return ", at the same size"
    return f", with {shares['params']} of its parameters and {shares['macs']} of its MACs"

"""What a section of the report says: which model to take, and what to know to read its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ttl_lightning.errors import one_line
from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.pages.text import NONE, amount, count, milliseconds, p_value, share, signed
from ttl_lightning.records.stem import stem_note
from ttl_lightning.report.collect import run_cost, whole_ms
from ttl_lightning.report.compare import Row, best
from ttl_lightning.report.methods import BASELINE, Group, Method
from ttl_lightning.tasks.reports import Metric, TaskReport

Verdict = Literal["better", "no worse", "worse", "not decided"]
_NOT_BY_TURNS = "it was not timed by turns with the untruncated network"
# In the order in which they are said.
WORDS = {
    "worse": "worse than full finetuning in {}",
    "better": "better than full finetuning in {}",
    "no worse": "no worse than full finetuning, by a margin of {margin}, in {}",
    "not decided": "not decided against full finetuning in {}",
}


def verdict(comparison: Comparison, metric: Metric) -> Verdict | None:
    """The word for it; None where a side has one training, as nothing is known of others.

    `better` and `worse` lie on one side of zero with all of the interval, `no worse` lies above
    minus the margin of the metric's test; where less is better, both the other way round.

    Source:
        Piaggio et al., Reporting of noninferiority and equivalence randomized trials, JAMA 308
        (2012) 2594-2604, figure 1: conclusions from the interval and a margin stated before.
    """
    assert metric.paired  # it was compared
    low, high = sorted(metric.sign * bound for bound in comparison.interval)
    if comparison.freedom is None:
        return None
    if low > 0 or high < 0:
        return "better" if low > 0 else "worse"
    return "no worse" if low > -metric.paired.margin else "not decided"


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
    name, scores, params = title(row.method), _scores(row.method), row.method.cost("params")
    size = "" if params is None else f", {amount(params)} parameters"
    if faults := _faults(row):
        return (
            f"No recommendation: {faults}. The best on the validation split is {name}, with "
            f"{scores}{size}."
        )
    take = f"Take {name}: it is the best on the validation split, with {scores}"
    if row.baseline is None:
        lone = " There is no full finetuning to compare it with."
        return f"{take}{size}." + lone * (row.method.strategy != BASELINE)
    if all(found.freedom is None for found in row.comparisons.values()):
        theirs = _scores(row.baseline)
        return f"{take}, against {theirs} of full finetuning{_cost(row)}. {_untested(row)}"
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
    one = "cannot be said: one seed does not tell what another training would come to."
    return f"Whether this is more than chance {one if row.comparisons else 'could not be tested.'}"


def _verdict(row: Row, name: str) -> str:
    reported = row.method.report.table
    tested = [metric for metric in reported if metric.name in row.comparisons]
    found: dict[tuple[str, float], list[str]] = {}
    for metric in tested:
        comparison = row.comparisons[metric.name]
        word = str(verdict(comparison, metric))
        margin = metric.paired.margin if metric.paired and word == "no worse" else 0.0
        assert comparison.p_value is not None  # of one training nothing is said here
        low, high = map(signed, comparison.interval)
        evidence = f"95 % interval {low} to {high}, {p_value(comparison.p_value)}"
        text = f"test {metric.label} ({signed(comparison.difference)}, {evidence})"
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


def _scores(method: Method) -> str:
    means = {metric.label: method.mean(f"test/{metric.name}") for metric in method.report.table}
    shown = (f"test {name} {NONE if m is None else f'{m:.3f}'}" for name, m in means.items())
    return f"{' and '.join(shown)} over {count(len(method.runs), 'seed')}"


def _cost(row: Row) -> str:
    """Its size beside full finetuning's, as the end of a clause."""
    assert row.baseline is not None  # callers have compared with it
    costs = [(row.method.cost(key), row.baseline.cost(key)) for key in ("params", "macs")]
    params, macs = (share(*pair) for pair in costs)
    if params is None or macs is None:
        return ""
    if all(ours == theirs for ours, theirs in costs):
        return ", at the same size"
    return f", with {params} of its parameters and {macs} of its MACs"


def notes(group: Group, rows: Sequence[Row]) -> list[str]:
    """Sentences for below the table: what its numbers are, and what is missing from it."""
    found = [
        "Scores are means over seeds ± sample standard deviation. The best mean of a column is "
        "bold, and the lowest cost.",
        _latency(rows),
        _sizes(rows),
        *_tests(rows, group.report),
        _learning(rows, group.report),
    ]
    for row in rows:
        name = title(row.method)
        found += [f"{name}: {problem}" for problem in row.problems]
        if row.learnt.faults:
            word = "has not learnt" if row.learnt.failed else "has learnt, but not in every seed"
            found.append(f"{name} {word}: {row.learnt.text}.")
        found += _without_latency(row)
        dominated = {stem_note(run.result.complexity) for run in row.method.runs} - {""}
        found += [f"{name}: {note}" for note in sorted(dominated)]
        for ours, theirs in sorted({made.seeds for made in row.comparisons.values()}):
            assert row.baseline is not None  # it was compared
            if (ours, theirs) != (len(row.method.runs), len(row.baseline.runs)):
                found.append(
                    f"{name}: compared over {count(ours, 'seed')} of its own and {theirs} of full "
                    "finetuning."
                )
    shown = {row.method.kind for row in rows}
    left = {method.label for method in group.methods if method.kind not in shown}
    criterion = group.report.label(group.report.criterion)
    found += [f"{name}: no run has a {criterion} to choose by." for name in sorted(left)]
    if group.repeated:
        found.append(
            f"{count(len(group.repeated), 'run')} left out, as another folder has the same method "
            f"and seed: {', '.join(group.repeated)}."
        )
    return [note for note in found if note]


def _latency(rows: Sequence[Row]) -> str:
    """What the column is, and what the machine that measured it needs for the whole network."""
    if all(row.method.cost("latency_ratio") is None for row in rows):
        return ""
    text = (
        "Latency is that of one input on one CPU thread, in percent of the untruncated network's: "
        "the fastest of many passes of both, by turns, in a process of their own after each run; "
        "the median over seeds. Those that noise does not tell from the lowest are bold."
    )
    if whole := [ms for row in rows for run in row.method.runs if (ms := whole_ms(run.result))]:
        text += f" The untruncated network takes {milliseconds(min(whole))} ms, at its fastest."
    return text


def _without_latency(row: Row) -> list[str]:
    """Why a method has no latency, or only some of its seeds have one."""
    missing = [r.result for r in row.method.runs if run_cost(r.result, "latency_ratio") is None]
    reasons = {
        one_line(result.notes.get("complexity/latency_ms/cpu", _NOT_BY_TURNS)) for result in missing
    }
    place = "so it is on no front" if len(missing) == len(row.method.runs) else ""
    seeds = place or f"for {count(len(missing), 'seed')} of {len(row.method.runs)}"
    return [f"{title(row.method)}: no latency, {seeds}: {reason}." for reason in sorted(reasons)]


def _sizes(rows: Sequence[Row]) -> str:
    sizes = list(dict.fromkeys(row.images for row in rows if row.images))
    if not sizes:
        return "The number of test samples is unknown: no predictions could be read."
    if len(sizes) == 1:
        return f"{sizes[0]}."
    return "; ".join(f"{title(row.method)}: {row.images or 'unknown'}" for row in rows) + "."


def _tests(rows: Sequence[Row], report: TaskReport) -> list[str]:
    if not any(row.baseline for row in rows):
        return [
            "No differences: there is no completed full finetuning (strategy=ftl) beside others."
        ]
    made = [found for row in rows for found in row.comparisons.values()]
    said = []
    tests = {metric.label: metric.paired for metric in report.table if metric.paired}
    if any(found.freedom is not None for found in made):
        parts = ", ".join(f"by {test.by} for {label}" for label, test in tests.items())
        margins = " and ".join(dict.fromkeys(f"{test.margin}" for test in tests.values()))
        said += [
            "Differences are those of the means over seeds. Their 95 % intervals and p-values hold "
            "for other trainings and other test samples together, seeds taken for readers and "
            f"samples for cases (Obuchowski and Rockette; the samples' part {parts}). For each "
            "metric they are corrected for the number of rows by Holm's procedure, so that an "
            "interval excludes zero just where p < 0.05.",
            "Better, worse: the whole interval lies above or below zero. No worse: it lies above "
            f"−{margins}, a margin that was set before, and holds zero. Not decided: it holds zero "
            f"and reaches below −{margins}." + _turned(report),
        ]
    if any(found.freedom is None for found in made):
        said.append(
            "One seed does not tell what training anew would come to: where a side has one, there "
            "is no p and no verdict, and the 95 % interval is that of other test samples alone."
        )
    if any(found.paired for found in made):
        said.append(
            "Test samples change with the seed, so differences within each seed are compared. "
            "Where the training samples of several seeds overlap, as in repeated splits of one "
            "data set, the intervals are too narrow (Nadeau and Bengio, Machine Learning 52, 2003)."
        )
    return said


def _turned(report: TaskReport) -> str:
    """Which of the tested metrics are better when lower, whose signs are to be read so."""
    lower = [m.label for m in report.table if m.paired and m.direction == "min"]
    return f" For {' and '.join(lower)}, where less is better, the other way round." * bool(lower)


def _learning(rows: Sequence[Row], report: TaskReport) -> str:
    if not any(row.learnt.faults for row in rows):
        return ""
    rules = [fault.rule for fault in report.faults]
    if report.rising is not None:
        rules.append(
            "its last epoch is the best one and the last fifth of the epochs gained more than "
            f"{report.rising} {report.label(report.criterion)}"
        )
    listed = ", or if ".join(filter(None, (", if ".join(rules[:-1]), rules[-1])))
    return (
        f"A training has not learnt if {listed}. Nothing is recommended where half of the seeds of "
        "either side have not."
    )

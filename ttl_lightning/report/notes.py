"""What a reader has to know to read a section's table, in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence

from ttl_lightning.errors import one_line
from ttl_lightning.records.stem import stem_note
from ttl_lightning.report.headline import title
from ttl_lightning.report.methods import Group, run_cost, whole_ms
from ttl_lightning.report.rows import Row
from ttl_lightning.report.text import count, milliseconds
from ttl_lightning.tasks.reports import TaskReport

_NOT_BY_TURNS = "it was not timed by turns with the untruncated network"


def notes(group: Group, rows: Sequence[Row]) -> list[str]:
    """Sentences for below the table: what its numbers are, and what is missing from it."""
    found = [
        "Scores are means over seeds ± sample standard deviation. The best mean of a column is "
        "bold, and the lowest cost.",
        _latency(rows),
        _images(rows),
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
    shown = {(row.method.strategy, row.method.variant) for row in rows}
    left = {m.label for m in group.methods if (m.strategy, m.variant) not in shown}
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


def _images(rows: Sequence[Row]) -> str:
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

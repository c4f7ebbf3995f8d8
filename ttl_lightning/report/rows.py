"""The rows of a group's table: every strategy at its chosen cutoff, beside full finetuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ttl_lightning.errors import DataError
from ttl_lightning.metrics import paired
from ttl_lightning.metrics.comparison import Comparison, holm
from ttl_lightning.metrics.paired import Scored, aligned
from ttl_lightning.metrics.predictions import read_test
from ttl_lightning.report.choice import Choice
from ttl_lightning.report.learnt import NOTHING_AMISS, Learnt, fault, read_history
from ttl_lightning.report.methods import BASELINE, Method
from ttl_lightning.report.text import count
from ttl_lightning.tasks.reports import TaskReport

Tables = dict[int, Scored]


@dataclass(frozen=True, slots=True)
class Row:
    """A chosen method and how it compares.

    Attributes:
        baseline: full finetuning; None if there is none, or for itself.
        comparisons: by metric, those that could be made; corrected for the number of rows.
        problems: why the others could not, and which files could not be used.
        images: the test samples, in words; "" where they are unknown.
        learnt: which of its trainings have not learnt.
        baseline_learnt: likewise of full finetuning.
    """

    choice: Choice
    baseline: Method | None
    comparisons: dict[str, Comparison]
    problems: tuple[str, ...]
    images: str
    learnt: Learnt = NOTHING_AMISS
    baseline_learnt: Learnt = NOTHING_AMISS

    @property
    def method(self) -> Method:
        """What the row is about."""
        return self.choice.method


def compare(root: Path, choices: Sequence[Choice]) -> list[Row]:
    """Compare every chosen method with full finetuning of the same variant, or the only one.

    Args:
        root: the sweep's folder, from which the chosen methods' predictions are read.
        choices: of one group.
    """
    baselines = [choice.method for choice in choices if choice.method.strategy == BASELINE]
    read = {id(choice.method): _read(root, choice.method) for choice in choices}
    rows = []
    for choice in choices:
        method = choice.method
        own, problems, learnt = read[id(method)]
        found = _baseline(method, baselines)
        comparisons: dict[str, Comparison] = {}
        if isinstance(found, Method):
            comparisons, failed = _compare(method.report, own, read[id(found)][0])
            problems = [*problems, *failed]
        elif found:
            problems = [*problems, found]
        baseline = found if isinstance(found, Method) else None
        theirs = read[id(baseline)][2] if baseline else NOTHING_AMISS
        words = _images(own)
        rows.append(Row(choice, baseline, comparisons, tuple(problems), words, learnt, theirs))
    return _corrected(rows)


def _corrected(rows: list[Row]) -> list[Row]:
    """Each metric is a question of its own, asked of as many methods as have an answer."""
    found: list[dict[str, Comparison]] = [{} for _ in rows]
    for metric in dict.fromkeys(metric for row in rows for metric in row.comparisons):
        asked = [place for place, row in enumerate(rows) if metric in row.comparisons]
        answers = holm([rows[place].comparisons[metric] for place in asked])
        for place, answer in zip(asked, answers, strict=True):
            found[place][metric] = answer
    return [replace(row, comparisons=own) for row, own in zip(rows, found, strict=True)]


def _read(root: Path, method: Method) -> tuple[Tables, list[str], Learnt]:
    """The predictions of each seed, which files could not be used, and which seeds learnt."""
    tables: Tables = {}
    problems, faults = [], {}
    report = method.report
    for run in method.runs:
        seed, described = run.result.seed, run.result.model
        history: list[float] = []
        try:
            history = read_history(root / run.folder, report.criterion)
        except DataError as error:
            problems.append(f"{run.folder}: {error}")
        try:
            tables[seed] = report.read(read_test(root / run.folder), described)
        except DataError as error:
            problems.append(f"{run.folder}: {error}")
        if found := fault(tables.get(seed), history, report, described):
            faults[seed] = found
    return tables, problems, Learnt(faults, len(method.runs))


def _baseline(method: Method, baselines: list[Method]) -> Method | str:
    """What to compare with, or why there is nothing; "" for the baseline itself."""
    if method.strategy == BASELINE or not baselines:
        return ""
    same = [baseline for baseline in baselines if baseline.variant == method.variant]
    if not same and len(baselines) > 1:
        return "none of the full finetunings has the same settings."
    return (same or baselines)[0]


def _compare(
    report: TaskReport, ours: Tables, theirs: Tables
) -> tuple[dict[str, Comparison], list[str]]:
    comparisons, problems = {}, []
    for metric in report.table:
        if metric.paired is None:
            continue
        test = metric.paired
        try:
            comparisons[metric.name] = paired.compare(test.kernel, ours, theirs, test.widest)
        except DataError as error:
            problems.append(f"test {metric.label}: {error}")
    return comparisons, problems


def _images(tables: Tables) -> str:
    found = list(tables.values())
    if not found:
        return ""
    sizes = sorted({len(table.ids) for table in found})
    same = bool(aligned(found))
    if len(found) == 1:
        return count(sizes[0], "test sample")
    if same:
        return f"{count(sizes[0], 'test sample')}, the same for every seed"
    size = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    return f"{size} test samples a seed, not the same for every seed"

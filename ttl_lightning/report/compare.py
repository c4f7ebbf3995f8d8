"""The setting of each strategy, chosen on the validation split alone, beside full finetuning."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from ttl_lightning.errors import DataError
from ttl_lightning.metrics import paired
from ttl_lightning.metrics.comparison import Comparison, holm
from ttl_lightning.metrics.paired import Scored, aligned
from ttl_lightning.metrics.predictions import PATIENT, read_test
from ttl_lightning.pages.text import count
from ttl_lightning.report.collect import Search
from ttl_lightning.report.learnt import NOTHING_AMISS, Learnt, fault, read_history
from ttl_lightning.report.methods import BASELINE, Group, Method
from ttl_lightning.tasks.reports import TaskReport

Tables = dict[int, Scored]


@dataclass(frozen=True, slots=True)
class Choice:
    """The method that stands for its strategy, and why its setting is this one."""

    method: Method
    reason: str


def choose(group: Group, searches: Sequence[Search]) -> list[Choice]:
    """One choice for each strategy and variant, in the group's order.

    A search's own choice stands where it is completed; otherwise the cutoff and what else is tuned
    are those of the best mean of the task's criterion; see `best`.

    Args:
        group: completed runs.
        searches: of the sweep, which a method's run folders tell apart.
    """
    strategies = groupby(group.methods, lambda method: method.kind)
    found = (_choose(list(methods), searches) for _, methods in strategies)
    return [choice for choice in found if choice is not None]


def best(methods: Iterable[Method]) -> Method | None:
    """The method of the best mean criterion over the seeds that all scored ones have.

    Of equals the smaller one is taken. Where no seed is shared, each is judged by its own; None if
    there is no score.
    """
    scored = [method for method in methods if _scores(method)]
    seeds = shared_seeds(scored)
    return max(scored, key=lambda method: _score(method, seeds), default=None)


def shared_seeds(methods: Iterable[Method]) -> frozenset[int]:
    """The seeds at which all methods that have their task's criterion have it."""
    found = [frozenset(seeds) for m in methods if (seeds := _scores(m))]
    return frozenset.intersection(*found) if found else frozenset()


def best_at_cutoffs(methods: Sequence[Method], chosen: Collection[Method]) -> list[Method]:
    """One method a cutoff of each strategy and variant: the chosen one, or the best of validation.

    Where none of several has the task's criterion, all of them stay.

    Args:
        methods: in their group's order.
        chosen: some of them.
    """
    kept: list[Method] = []
    for _, at_cutoff in groupby(methods, lambda method: (method.kind, method.cutoff)):
        found = list(at_cutoff)
        winner = next((method for method in found if method in chosen), None) or best(found)
        kept += [winner] if winner else found
    return kept


def _scores(method: Method) -> dict[int, float]:
    return method.by_seed(method.report.criterion)


def _score(method: Method, seeds: Collection[int]) -> tuple[float, float]:
    report = method.report
    mean, params = method.mean(report.criterion, seeds), method.cost("params")
    assert mean is not None  # the callers' methods are scored
    return report.first.sign * mean, float("-inf") if params is None else -params


def _choose(methods: list[Method], searches: Sequence[Search]) -> Choice | None:
    own = [search for search in searches if any(search.folders & _folders(m) for m in methods)]
    ended = [search for search in own if search.taken or search.choice is not None]
    found = [(m, search.reason) for search in ended for m in methods if _took(search, m)]
    if len(found) == 1:
        return Choice(*found[0])
    unused = ""
    if found:  # searches that the command line kept apart, such as one a learning rate
        methods = [method for method, _ in found]
        unused = f"{len(found)} searches ended here. "
    elif ended:
        named = " with ".join(filter(None, (ended[0].choice, ", ".join(ended[0].setting))))
        unused = f"The search chose {named}, which has no completed run. "
    if len(methods) == 1:
        return Choice(methods[0], unused + _only(methods[0]))
    winner = best(methods)
    return Choice(winner, unused + _reason(winner, methods)) if winner else None


def _folders(method: Method) -> frozenset[str]:
    return frozenset(run.folder for run in method.runs)


def _took(search: Search, method: Method) -> bool:
    if search.taken:
        return bool(search.taken & _folders(method))
    return method.cutoff == search.choice and bool(search.folders & _folders(method))


def _reason(winner: Method, methods: Sequence[Method]) -> str:
    seeds = shared_seeds(methods)
    kind = "settings" if len({method.tuned for method in methods}) > 1 else "cutoffs"
    over = count(len(seeds or _scores(winner)), "seed")
    report = winner.report
    mean = winner.mean(report.criterion, seeds)
    reason = (
        f"{winner.setting} has the best mean {report.label(report.criterion)} ({mean:.4f} over "
        f"{over}) of {len(methods)} {kind}."
    )
    if not seeds:
        return f"{reason} They have no seed in common: each is judged by its own."
    if any(_scores(method).keys() - seeds for method in methods):
        reason += " Not all have the same seeds: they are compared over those that all have."
    return reason


def _only(method: Method) -> str:
    if method.cutoff is None:
        return "The strategy has no cutoff to choose."
    return "It is the only cutoff that was completed."


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
        own, problems, learnt = read[id(choice.method)]
        baseline, missing = _baseline(choice.method, baselines)
        comparisons: dict[str, Comparison] = {}
        theirs = NOTHING_AMISS
        if baseline:
            tables, _, theirs = read[id(baseline)]
            comparisons, missing = _compare(choice.method.report, own, tables)
        said = (*problems, *missing)
        rows.append(Row(choice, baseline, comparisons, said, _images(own), learnt, theirs))
    return _corrected(rows)


def _corrected(rows: list[Row]) -> list[Row]:
    """Each metric is a question of its own, asked of as many methods as have an answer."""
    found = list(rows)
    for metric in dict.fromkeys(metric for row in rows for metric in row.comparisons):
        asked = [place for place, row in enumerate(rows) if metric in row.comparisons]
        answers = holm([rows[place].comparisons[metric] for place in asked])
        for place, answer in zip(asked, answers, strict=True):
            own = found[place].comparisons | {metric: answer}
            found[place] = replace(found[place], comparisons=own)
    return found


def _read(root: Path, method: Method) -> tuple[Tables, list[str], Learnt]:
    """The predictions of each seed, which files could not be used, and which seeds learnt."""
    tables: Tables = {}
    problems, faults = [], {}
    report = method.report
    for run in method.runs:
        seed, described, folder = run.result.repeat, run.result.model, root / run.folder
        history: list[float] = []
        try:
            history = read_history(folder, report.criterion)
        except DataError as error:
            problems.append(f"{run.folder}: {error}".replace(f"{folder}{os.sep}", ""))
        try:
            columns = read_test(folder)
            read = report.read(columns, described)
            tables[seed] = replace(read, patients=columns.get(PATIENT))
        except DataError as error:
            problems.append(f"{run.folder}: {error}")
        if found := fault(tables.get(seed), history, report, described):
            faults[seed] = found
    return tables, problems, Learnt(faults, len(method.runs))


def _baseline(method: Method, baselines: list[Method]) -> tuple[Method | None, list[str]]:
    """What to compare with, if anything, and what is missing."""
    if method.strategy == BASELINE or not baselines:
        return None, []
    same = [baseline for baseline in baselines if baseline.variant == method.variant]
    if not same and len(baselines) > 1:
        return None, ["none of the full finetunings has the same settings."]
    return (same or baselines)[0], []


def _compare(
    report: TaskReport, ours: Tables, theirs: Tables
) -> tuple[dict[str, Comparison], list[str]]:
    comparisons, problems = {}, []
    for metric in report.table:
        try:
            if test := metric.paired:
                comparisons[metric.name] = paired.compare(test.kernel, ours, theirs, test.widest)
        except DataError as error:
            problems.append(f"test {metric.label}: {error}")
    return comparisons, problems


def _images(tables: Tables) -> str:
    found = list(tables.values())
    if not found:
        return ""
    sizes = sorted({len(table.ids) for table in found})
    people = sorted({len(set(table.draws)) for table in found})
    of = "" if all(t.patients is None for t in found) else f" of {_range(people)} patients"
    if len(found) == 1 or aligned(found):
        same = ", the same for every seed" * (len(found) > 1)
        return count(sizes[0], "test sample") + of + same
    return f"{_range(sizes)} test samples{of} a seed, not the same for every seed"


def _range(sizes: Sequence[int]) -> str:
    return f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"

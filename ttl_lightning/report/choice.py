"""Each strategy's cutoff, and the model to take: chosen on the validation split alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ttl_lightning.report.collect import Search
from ttl_lightning.report.methods import Group, Method
from ttl_lightning.report.text import count

CRITERION = "val/auprc"


@dataclass(frozen=True, slots=True)
class Choice:
    """The method that stands for its strategy, and why its cutoff is this one."""

    method: Method
    reason: str


def choose(group: Group, searches: Sequence[Search]) -> list[Choice]:
    """One choice for each strategy and variant, in the group's order.

    A search's own choice stands where it is completed; otherwise the cutoff of the best mean
    validation AUPRC over seeds is taken, and among equals that of fewer parameters.

    Args:
        group: completed runs.
        searches: of the sweep, which a method's run folders tell apart.
    """
    cutoffs: dict[tuple[str, tuple[str, ...]], list[Method]] = defaultdict(list)
    for method in group.methods:
        cutoffs[method.strategy, method.variant].append(method)
    found = (_choose(methods, searches) for methods in cutoffs.values())
    return [choice for choice in found if choice is not None]


def best(methods: Iterable[Method]) -> Method | None:
    """The method of the best mean validation AUPRC; the smaller one of equals; None of none."""
    scored = [(score, method) for method in methods if (score := _score(method)) is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


def _score(method: Method) -> tuple[float, float] | None:
    mean, params = method.mean(CRITERION), method.cost("params")
    return None if mean is None else (mean, float("-inf") if params is None else -params)


def _choose(methods: list[Method], searches: Sequence[Search]) -> Choice | None:
    folders = {run.folder for method in methods for run in method.runs}
    search = next((search for search in searches if search.folders & folders), None)
    unused = ""
    if search is not None and search.choice is not None:
        for method in methods:
            if method.cutoff == search.choice:
                return Choice(method, search.reason)
        unused = f"The search chose {search.choice}, which has no completed run. "
    if len(methods) == 1:
        return Choice(methods[0], unused + _only(methods[0]))
    winner = best(methods)
    if winner is None:
        return None
    reason = (
        f"It has the best mean validation AUPRC ({winner.mean(CRITERION):.4f} over "
        f"{count(len(winner.values(CRITERION)), 'seed')}) of {len(methods)} cutoffs."
    )
    return Choice(winner, unused + reason)


def _only(method: Method) -> str:
    if method.cutoff is None:
        return "The strategy has no cutoff to choose."
    return "It is the only cutoff that was completed."

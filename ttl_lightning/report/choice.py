"""Each strategy's setting, and the model to take: chosen on the validation split alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ttl_lightning.report.collect import Search
from ttl_lightning.report.methods import Group, Method
from ttl_lightning.report.text import count


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
    settings: dict[tuple[str, tuple[str, ...]], list[Method]] = defaultdict(list)
    for method in group.methods:
        settings[method.strategy, method.variant].append(method)
    found = (_choose(methods, searches) for methods in settings.values())
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
    """
    places: dict[tuple[str, tuple[str, ...], str | None], list[Method]] = defaultdict(list)
    for method in methods:
        places[method.strategy, method.variant, method.cutoff].append(method)
    kept: list[Method] = []
    for found in places.values():
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

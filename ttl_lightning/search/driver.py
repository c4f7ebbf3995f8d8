"""Searching with a function of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean
from typing import SupportsFloat

from ttl_lightning.errors import ConfigError
from ttl_lightning.search.base import Choice, Method, Outcome, Trial, advance
from ttl_lightning.search.methods import create_method


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A trial that was made.

    Attributes:
        candidate: the cutoff.
        stage: the step of the method that asked for it.
        epochs: total number of epochs it was trained for; None is to the end.
        scores: one a seed, NaN for a seed that failed; empty if nothing came back.
        score: mean of the seeds that did not fail, None if there is none.
    """

    candidate: str
    stage: str
    epochs: int | None
    scores: tuple[float, ...]
    score: float | None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        method: its name.
        choice: the best cutoff, None if nothing could be scored.
        reason: why, in one sentence.
        trials: all that was evaluated, in order.
    """

    method: str
    choice: str | None
    reason: str
    trials: list[Evaluation]


def search(
    candidates: Sequence[str],
    evaluate: Callable[..., float | Sequence[float | None] | None],
    method: str | Method = "hierarchical",
    sizes: Mapping[str, float] | None = None,
) -> SearchResult:
    """Find the best cutoff by evaluating some of the candidates.

    >>> scores = {"stem": 0.7, "block1.1": 0.8, "block1.2": 0.9, "block2.1": 0.95, "block2.2": 0.9}
    >>> result = search(list(scores), scores.get)
    >>> result.choice, [trial.candidate for trial in result.trials]
    ('block2.1', ['block1.2', 'block2.2', 'stem', 'block1.1', 'block2.1'])

    Args:
        candidates: cutoffs in network order, input side first, as `Backbone.cutoffs` gives them.
        evaluate: called with a candidate, gives its score (higher is better), or one score a seed,
            whose mean counts; None or NaN where it failed. A method that stops trainings early
            calls it with a candidate and a total number of epochs (None: train to the end). What it
            raises ends the search.
        method: a key of `METHODS`, or a method with options: `Halving(max_epochs=30)`.
        sizes: parameters by candidate, to break ties; without them the earlier candidate wins.

    Raises:
        UnknownNameError: if there is no method of that name.
        ConfigError: if the method needs options, the candidates are none, repeated, out of order or
            no cutoffs, or `evaluate` gives something that is no score.
    """
    chosen = method if isinstance(method, Method) else create_method(method)
    plan = chosen.plan(candidates)
    trials: list[Evaluation] = []
    step = advance(plan, None)
    while not isinstance(step, Choice):
        outcomes: dict[Trial, Outcome] = {}
        for trial in step:
            name, epochs = trial.candidate, trial.epochs
            given = evaluate(name, epochs) if chosen.stops_early else evaluate(name)
            scores = _scores(given, name)
            valid = [score for score in scores if not math.isnan(score)]
            mean = fmean(valid) if valid else None
            trials.append(Evaluation(name, trial.stage, epochs, scores, mean))
            outcomes[trial] = Outcome(mean, (sizes or {}).get(name))
        step = advance(plan, outcomes)
    return SearchResult(chosen.name, step.candidate, step.reason, trials)


def _scores(given: object, candidate: str) -> tuple[float, ...]:
    """What `evaluate` gave, as one number a seed."""
    if given is None:
        return ()
    items: list[object] = [given]
    # text and mappings can be looped over, but their letters and keys are no scores
    if isinstance(given, Iterable) and not isinstance(given, str | Mapping):
        with suppress(TypeError):  # an array or a tensor without dimensions
            items = list(given)
    if not all(item is None or isinstance(item, SupportsFloat) for item in items):
        raise ConfigError(
            f"evaluate({candidate!r}) must give a number, a sequence of numbers or None, "
            f"got {given!r}."
        )
    return tuple(float("nan") if item is None else float(item) for item in items)  # type: ignore[arg-type]

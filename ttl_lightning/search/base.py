"""What every search method shares: trials, outcomes, the choice, and what counts as best."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import ClassVar, cast

from ttl_lightning.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing to evaluate.

    Attributes:
        candidate: the cutoff, by the name it was given under.
        stage: the step of the method that asks for it.
        epochs: total number of epochs to have trained for, counted from the candidate's first; None
            trains to the end.
    """

    candidate: str
    stage: str
    epochs: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial.

    Attributes:
        score: higher is better; None or NaN where the trial failed.
        size: number of parameters, where it is known.
    """

    score: float | None
    size: float | None = None

    @property
    def value(self) -> float | None:
        """The score, None where the trial failed."""
        return None if self.score is None or math.isnan(self.score) else self.score


@dataclass(frozen=True, slots=True)
class Choice:
    """The end of a search.

    Attributes:
        candidate: the best cutoff, None if nothing could be scored.
        reason: one sentence for people.
    """

    candidate: str | None
    reason: str


Outcomes = Mapping[Trial, Outcome]
Plan = Generator[list[Trial], Outcomes, Choice]


class Method(ABC):
    """A way to search: a frozen dataclass of its options.

    Attributes:
        name: its key in `METHODS`.
        stops_early: whether its trials may ask for fewer epochs than a whole training.
        frees: whether it frees frozen units one by one, which a strategy has to have.
    """

    name: ClassVar[str]
    stops_early: ClassVar[bool] = False
    frees: ClassVar[bool] = False

    @abstractmethod
    def plan(self, candidates: Sequence[str]) -> Plan:
        """Yield batches of trials, take the outcomes of each batch, and return the choice.

        The trials of a batch do not depend on each other, so they may be evaluated at once.

        Args:
            candidates: cutoffs in network order, input side first, as `Backbone.cutoffs` gives
                them; or blocks (`block1`, `block2`), each then standing for one unit.

        Raises:
            ConfigError: at the first step, if the candidates are none, repeated, out of order, or
                no cutoffs.
        """

    def toward(self, sign: float) -> Method:
        """The same method for scores times the sign, where an option of it is such a score."""
        del sign
        return self


def ask(batch: list[Trial]) -> Generator[list[Trial], Outcomes, dict[Trial, Outcome]]:
    """Yield a batch, and give the outcomes of its trials alone.

    Raises:
        KeyError: if whoever drives the plan leaves out a trial's outcome.
    """
    sent = yield batch
    return {trial: sent[trial] for trial in batch}


def advance(plan: Plan, outcomes: Outcomes | None) -> list[Trial] | Choice:
    """The next batch of a plan, or its choice at the end.

    Args:
        plan: a method's generator.
        outcomes: those of the batch before; None at the start.
    """
    try:
        return next(plan) if outcomes is None else plan.send(outcomes)
    except StopIteration as end:
        return cast(Choice, end.value)


def ranked(outcomes: Outcomes, order: Sequence[str]) -> list[Trial]:
    """The trials that were scored, best first.

    Exact ties go to the smaller model if the sizes of all that tie are known, then to the earlier
    candidate.

    Args:
        outcomes: by trial; those that failed are left out.
        order: every candidate, in network order.
    """
    values = {trial: value for trial, out in outcomes.items() if (value := out.value) is not None}
    result: list[Trial] = []
    for _, group in groupby(sorted(values, key=lambda t: -values[t]), key=lambda t: values[t]):
        tied = sorted(group, key=lambda t: order.index(t.candidate))
        sizes = {t: size for t in tied if (size := outcomes[t].size) is not None}
        # A size compared with an unknown one would let three candidates beat each other in a ring.
        if len(sizes) == len(tied):
            tied.sort(key=lambda t: sizes[t])
        result += tied
    return result


def best(outcomes: Outcomes, order: Sequence[str]) -> Trial | None:
    """The first of `ranked`, None if no trial was scored."""
    return next(iter(ranked(outcomes, order)), None)


def choose(outcomes: Outcomes, order: Sequence[str], among: str) -> Choice:
    """Choose the best trial, and say why.

    Args:
        outcomes: by trial.
        order: every candidate, in network order.
        among: what the trials are, for the reason: `4 cutoffs`.
    """
    scored = ranked(outcomes, order)
    if not scored:
        return Choice(None, f"None of {among} could be scored.")
    score = outcomes[scored[0]].value
    tied = [outcomes[trial].size for trial in scored if outcomes[trial].value == score]
    reason = f"{scored[0].candidate} scored best ({score:.4g}) of {among}"
    if len(tied) > 1:
        smallest = None not in tied and tied.count(tied[0]) == 1
        reason += f"; it is the {'smallest' if smallest else 'first'} of {len(tied)} that tie"
    if failed := len(outcomes) - len(scored):
        reason += f"; {failed} could not be scored"
    return Choice(scored[0].candidate, f"{reason}.")


def counted(number: int) -> str:
    """`1 cutoff`, `2 cutoffs`."""
    return f"{number} cutoff{'' if number == 1 else 's'}"


_NAME = re.compile(r"stem|tail|(block[1-9][0-9]*)(?:\.[1-9][0-9]*)?")


def block_of(candidate: str) -> str | None:
    """The block that a cutoff lies in, None for the stem and the tail."""
    match = _NAME.fullmatch(candidate)
    return match[1] if match else None


def check_candidates(candidates: Sequence[str]) -> tuple[str, ...]:
    """The candidates, once it is sure that they are cutoffs in network order.

    Raises:
        ConfigError: if there is none, or one is repeated, out of order, or no cutoff.
    """
    names = tuple(candidates)
    if not names:
        raise ConfigError("a search needs at least one candidate, got none.")
    for name in names:
        if not _NAME.fullmatch(str(name)):
            raise ConfigError(
                f"candidate {name!r} is not a cutoff. Allowed: stem, block2, block2.3, tail."
            )
        if names.count(name) > 1:
            raise ConfigError(f"candidate {name!r} is given {names.count(name)} times.")
        block, _, unit = name.partition(".")
        if unit and block in names:
            raise ConfigError(
                f"candidates {block!r} and {name!r} overlap: give the block or its units."
            )
    for before, after in pairwise(names):
        if _place(after) < _place(before):
            raise ConfigError(
                f"candidates must be in network order, input side first, "
                f"got {before!r} before {after!r}."
            )
    return names


def _place(name: str) -> tuple[int, ...]:
    numbers = [int(number) for number in re.findall("[0-9]+", name)]
    return ({"stem": 0, "tail": 2}.get(name, 1), *numbers)

"""The same number of trainings for every strategy, and which settings to spend them on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttl_lightning.errors import check_number
from ttl_lightning.search.axes import Axis, spaced
from ttl_lightning.search.base import Outcome

# One value of every axis, in the axes' order.
Setting = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """Settings to be tried at once, and the step that asks for them: `spread` or `around`."""

    stage: str
    settings: list[Setting]


@dataclass(frozen=True, slots=True)
class Best:
    """The setting to take, None if none could be scored, and why, in one sentence."""

    setting: Setting | None
    reason: str


SettingPlan = Generator[Round, Mapping[Setting, Outcome], Best]


@dataclass(frozen=True)
class Compare:
    """Choose a strategy's setting in so many trainings.

    Two thirds of the budget (or all listed settings, if they are no more than the budget) are
    spread so that every value of every axis is tried about equally often. The rest goes around the
    best so far, one axis at a time: to the next listed value on either side, then to the one
    halfway. Where nothing is left around the best, the same is done around the next best.

    Args:
        budget: trainings that a strategy may take; with fewer settings it takes fewer.

    Raises:
        ConfigError: if the budget is no positive integer.
    """

    name: ClassVar[str] = "compare"
    budget: int

    def __post_init__(self) -> None:
        check_number("hydra.sweeper.budget", self.budget, 1, integer=True)

    def plan(self, axes: Sequence[Axis], sizes: Mapping[str, float]) -> SettingPlan:
        """Yield rounds, take the outcomes of each, and return the choice.

        Args:
            axes: what settings differ in.
            sizes: parameters by the value of the axis `cutoff`; of equal scores the smaller wins.
        """
        listed = math.prod(len(axis.values) for axis in axes)
        number = listed if listed <= self.budget else -(-2 * self.budget // 3)
        outcomes: dict[Setting, Outcome] = {}
        batch, stage = spread(axes, number), "spread"
        while batch:
            sent = yield Round(stage, batch)
            cutoffs = {s: _named(axes, s).get("cutoff", "") for s in batch}
            outcomes |= {s: Outcome(sent[s].score, sizes.get(cutoffs[s])) for s in batch}
            left = self.budget - len(outcomes)
            around = (neighbours(axes, setting, outcomes) for setting in best_first(outcomes))
            batch, stage = next(filter(None, around), [])[:left], "around"
        return self._choice(axes, outcomes, listed, number)

    def _choice(
        self, axes: Sequence[Axis], outcomes: Mapping[Setting, Outcome], listed: int, first: int
    ) -> Best:
        tried = f"{len(outcomes)} setting{'' if len(outcomes) == 1 else 's'} tried"
        notes = [f"budget {self.budget}"]
        if first < listed:
            notes.append(f"the first {first} spread evenly over {listed}")
        if len(outcomes) < self.budget:
            notes.append("there are no more")
        if failed := sum(outcome.value is None for outcome in outcomes.values()):
            notes.append(f"{failed} could not be scored")
        top = next(iter(best_first(outcomes)), None)
        if top is None:
            return Best(None, f"None of {tried} could be scored ({'; '.join(notes)}).")
        score = outcomes[top].value
        if (tied := sum(outcome.value == score for outcome in outcomes.values())) > 1:
            notes.append(f"the smallest or first of {tied} that tie")
        name = described(axes, top)
        return Best(top, f"{name} scored best ({score:.4g}) of {tried} ({'; '.join(notes)}).")


def described(axes: Sequence[Axis], setting: Setting) -> str:
    """`block3.2 with protocol.learning_rate=0.003`; what it has of the two."""
    named = _named(axes, setting)
    cutoff = named.pop("cutoff", "")
    rest = ", ".join(f"{name}={value}" for name, value in named.items())
    return " with ".join(filter(None, [cutoff, rest])) or "The only setting"


def best_first(outcomes: Mapping[Setting, Outcome]) -> list[Setting]:
    """The settings that were scored; of equals the smaller model, then the one tried first."""
    scored = {
        setting: (-value, math.inf if outcome.size is None else outcome.size)
        for setting, outcome in outcomes.items()
        if (value := outcome.value) is not None
    }
    return sorted(scored, key=lambda setting: scored[setting])


def spread(axes: Sequence[Axis], number: int) -> list[Setting]:
    """So many listed settings, in which the values of an axis come equally often or once more.

    As in a Latin square, every axis goes round at its own pace, and is shifted by one where it
    would meet the others' values again. Of a longer axis evenly spaced values come first.

    Args:
        axes: what settings differ in.
        number: how many; at most as many as there are.
    """
    orders = []
    for axis in axes:
        first = spaced(axis.values, number)
        orders.append([*first, *(value for value in axis.values if value not in first)])
    return [tuple(_at(orders, index)) for index in range(number)]


def _at(orders: Sequence[Sequence[str]], index: int) -> Iterator[str]:
    period = 1  # after which the axes so far begin again
    for order in orders:
        round_trip = math.lcm(period, len(order))
        period *= len(order)
        step = index % period
        yield order[(step + step // round_trip) % len(order)]


def neighbours(axes: Sequence[Axis], center: Setting, tried: Collection[Setting]) -> list[Setting]:
    """The settings next to one that were not tried: each differs from it in one axis.

    Args:
        axes: what settings differ in.
        center: where to look.
        tried: settings that are known already.

    Returns:
        The lower side of every axis first.
    """
    found = []
    for side, place in itertools.product((-1, 1), range(len(axes))):
        value = _next(axes[place], center, place, side, tried)
        setting = (*center[:place], value, *center[place + 1 :]) if value else center
        if setting not in tried and setting not in found:
            found.append(setting)
    return found


def _next(
    axis: Axis, center: Setting, place: int, side: int, tried: Collection[Setting]
) -> str | None:
    here = axis.place(center[place])
    others = (center[:place], center[place + 1 :])
    known = [s[place] for s in tried if (s[:place], s[place + 1 :]) == others]
    values = [v for v in (*axis.values, *known) if side * (axis.place(v) - here) > 0]
    if not values:
        return axis.beyond(center[place], side)
    near = min(values, key=lambda value: abs(axis.place(value) - here))
    return axis.between(center[place], near) if near in known else near


def _named(axes: Sequence[Axis], setting: Setting) -> dict[str, str]:
    return dict(zip((axis.name for axis in axes), setting, strict=True))

"""The settings that a strategy is compared at: what it may be tuned in, and the trainings of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, cast

from ttl_lightning.errors import ConfigError
from ttl_lightning.jobs import rounds
from ttl_lightning.jobs.plan import Group, Overrides, combinations, cutoffs_of
from ttl_lightning.jobs.rounds import Criterion
from ttl_lightning.records.schema import RunResult
from ttl_lightning.report.methods import is_tuned, key_of
from ttl_lightning.search import Axis, Best, Compare, Listed, Rates, Setting
from ttl_lightning.search.axes import positive, written
from ttl_lightning.search.compare import SettingPlan
from ttl_lightning.search.neighbourhood import block_ends

RATE = "protocol.learning_rate"
SEEDS = "seeds"  # the stage in which the chosen setting is trained with the other seeds

# A setting, and the stage that asks for it.
Attempt = tuple[Setting, str]


def tuned(arguments: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """What the overrides sweep of how well a model is trained, and all other overrides.

    >>> tuned(["strategy=ftl,ttl", "protocol.learning_rate=1e-3,3e-3", "trainer.max_epochs=5"])
    ({'protocol.learning_rate': ('0.001', '0.003')}, ['strategy=ftl,ttl', 'trainer.max_epochs=5'])

    Raises:
        ConfigError: if an override is malformed.
    """
    swept: dict[str, tuple[str, ...]] = {}
    others = []
    for argument in {key_of(argument): argument for argument in arguments}.values():
        listed = [o for (o,) in combinations([argument])] if is_tuned(argument) else []
        if len(listed) > 1:
            name = listed[0].partition("=")[0]  # with its plus sign, if it has one
            swept[name] = tuple(override.partition("=")[2] for override in listed)
        else:
            others.append(argument)
    return swept, others


def axes_of(
    group: Group, swept: Mapping[str, tuple[str, ...]], factors: Sequence[float], order: list[str]
) -> tuple[Axis, ...]:
    """What the settings of a group of jobs differ in.

    Args:
        group: the jobs.
        swept: values by key, as `tuned` gives them.
        factors: rates to try, as multiples of the protocol's; used where the group gives none.
        order: every cutoff that may be tried, in network order; none if the strategy takes none.

    Raises:
        ConfigError: if a rate is no positive number.
    """
    axes: list[Axis] = [
        Rates(key, values) if key_of(key) == RATE else Listed(key, values)
        for key, values in swept.items()
    ]
    if RATE not in map(key_of, (*swept, *group.overrides)):
        rate = float(group.spec.protocol.learning_rate)
        axes.append(Rates(RATE, tuple(written(rate * factor) for factor in factors)))
    if order:
        first = order if group.cutoffs else block_ends(order)
        axes.append(Listed("cutoff", tuple(first), tuple(order)))
    return tuple(axes)


def check_factors(factors: object) -> list[float]:
    """Demand what rates can be multiplied by.

    Raises:
        ConfigError: if it is no list of positive numbers.
    """
    listed = isinstance(factors, Sequence) and not isinstance(factors, str)
    numbers = list(cast(Sequence[float], factors)) if listed else []
    real = all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers)
    if not numbers or not real or not all(map(positive, numbers)):
        raise ConfigError(
            f"hydra.sweeper.rates must list positive numbers, as in [0.3, 1, 3], got {factors!r}."
        )
    return numbers


@dataclass(slots=True, eq=False)
class Tuning:
    """The choice of one group's setting: what was tried, what came of it, and what was chosen.

    Args:
        group: the jobs, without what is swept.
        method: how to choose.
        axes: what settings differ in.
        criterion: what is looked for, of the first seed.
        sizes: parameters of each cutoff's model.
    """

    group: Group
    method: Compare
    axes: tuple[Axis, ...]
    criterion: Criterion
    sizes: Mapping[str, float]
    chosen: Best | None = None
    trials: list[dict[str, Any]] = field(default_factory=list)
    _plan: SettingPlan | None = None

    @classmethod
    def of(
        cls,
        group: Group,
        method: Compare,
        swept: Mapping[str, tuple[str, ...]],
        factors: Sequence[float],
        criterion: Criterion,
    ) -> Tuning:
        """Make the tuning of a group of jobs; see `axes_of`."""
        sizes = cutoffs_of(group) if group.strategy.needs_cutoff else {}
        # a cutoff given in vain is left for the check of the first job to refuse
        given = [override.partition("=")[2] for cutoff in group.cutoffs for override in cutoff]
        axes = axes_of(group, swept, factors, list(sizes) or given)
        return cls(group, method, axes, criterion, sizes)

    def announced(self) -> str:
        """What it is about to do, in one line."""
        listed = math.prod(len(axis.values) for axis in self.axes)
        first, *others = self.group.seeds
        return (
            f"{self.group.strategy.name}: at most {self.method.budget} trainings "
            f"({', '.join(first) or 'the seed given'}) to choose its setting, {listed} listed; "
            f"the choice is trained with {len(others)} more seeds"
        )

    def begin(self) -> list[Attempt]:
        """The first round."""
        self._plan = self.method.plan(self.axes, self.sizes)
        first = next(self._plan)
        return [(setting, first.stage) for setting in first.settings]

    def overrides(self, attempt: Attempt) -> list[Overrides]:
        """The jobs of a setting: of the first seed, or of the others once it is chosen."""
        setting, stage = attempt
        first, *others = self.group.seeds
        cutoff, extra = self._parts(setting)
        if cutoff:
            extra.append(f"cutoff={cutoff}")
        seeds = others if stage == SEEDS else [first]
        return [(*self.group.overrides, *extra, *seed) for seed in seeds]

    def take(self, results: Mapping[Attempt, Sequence[tuple[str, RunResult]]]) -> list[Attempt]:
        """Take a round's results, and say what the next one tries; nothing at the end.

        Args:
            results: by setting and stage, the folder and the result of each seed.
        """
        assert self._plan  # begin() came before
        outcomes = {}
        for (setting, stage), runs in results.items():
            trial = self._tried(setting, stage, runs)
            self.trials.append(trial)
            outcomes[setting] = self.criterion.outcome(trial["score"])
        if self.chosen:  # that was its other seeds
            return []
        try:
            after = self._plan.send(outcomes)
        except StopIteration as end:
            self.chosen = end.value
            setting = end.value.setting
            return [(setting, SEEDS)] if setting is not None and self.group.seeds[1:] else []
        return [(setting, after.stage) for setting in after.settings]

    def _tried(
        self, setting: Setting, stage: str, runs: Sequence[tuple[str, RunResult]]
    ) -> dict[str, Any]:
        scores = {str(run.repeat): self.criterion.of_run(run) for _, run in runs}
        cutoff, overrides = self._parts(setting)
        size = self.sizes.get(cutoff) if cutoff else None
        found = rounds.tried(cutoff, stage, scores, size, [folder for folder, _ in runs])
        return {**found, "overrides": overrides}

    def described(self) -> dict[str, Any]:
        """Its entry in `search.json`; `choice` is the cutoff, as of a search for it."""
        chosen = None
        if self.chosen and self.chosen.setting is not None:
            cutoff, overrides = self._parts(self.chosen.setting)
            tried = [t for t in self.trials if (t["cutoff"], t["overrides"]) == (cutoff, overrides)]
            folders = [folder for trial in tried for folder in trial["folders"]]
            chosen = {"cutoff": cutoff, "overrides": overrides, "folders": folders}
        return {
            **rounds.described(self.group, self.method, self.criterion, self.trials),
            "choice": chosen["cutoff"] if chosen else None,
            "chosen": chosen,
            "reason": self._reason(),
        }

    def _parts(self, setting: Setting) -> tuple[str | None, list[str]]:
        """A setting's cutoff, and its other overrides."""
        named = {axis.name: value for axis, value in zip(self.axes, setting, strict=True)}
        cutoff = named.pop("cutoff", None)
        return cutoff, [f"{key}={value}" for key, value in named.items()]

    def _reason(self) -> str:
        if self.chosen is None:
            return rounds.NOT_ENDED
        seeds = [override for seed in self.group.seeds[:1] for override in seed]
        of = f" of {', '.join(seeds)}" if seeds else ""
        return f"{self.chosen.reason} Scores are {self.criterion.name}{of}, one training a setting."

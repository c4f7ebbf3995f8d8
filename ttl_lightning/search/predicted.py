"""A race among the cutoffs that something cheaper than training ranks highest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from ttl_lightning.errors import ConfigError, check_number
from ttl_lightning.search.base import (
    Choice,
    Method,
    Outcome,
    Plan,
    Trial,
    check_candidates,
    counted,
    ranked,
)
from ttl_lightning.search.halving import Halving


@dataclass(frozen=True)
class Predicted(Method):
    """Successive halving, of which the first rung trains nothing: predictions take its place.

    Args:
        predicted: by cutoff, higher is better, such as the validation AUPRC of a linear probe.
            Those that are None or NaN come last.
        max_epochs: as of `Halving`.
        keep: how many candidates race, those predicted best; of ties the earlier ones.
        eta: as of `Halving`.
        min_epochs: as of `Halving`; None: `1 / eta` of a whole training, so that with as many
            candidates as `eta` there is one rung.

    Raises:
        ConfigError: if an option is out of range.
    """

    name: ClassVar[str] = "predict"
    stops_early: ClassVar[bool] = True
    predicted: Mapping[str, float | None]
    max_epochs: int
    keep: int = 3
    eta: int = 3
    min_epochs: int | None = None

    def __post_init__(self) -> None:
        check_number("keep", self.keep, 1, integer=True)
        self._race()

    def plan(self, candidates: Sequence[str]) -> Plan:
        """The race's batches, in the stages `rung0`, `rung1`, …; see `Halving.plan`.

        Raises:
            ConfigError: if no candidate has a prediction.
        """
        order = check_candidates(candidates)
        promised = {Trial(c, "predicted"): Outcome(self.predicted.get(c)) for c in order}
        known = [trial.candidate for trial in ranked(promised, order)]
        if not known:
            raise ConfigError(f"nothing is predicted for any of {counted(len(order))}.")
        best_first = [*known, *(name for name in order if name not in known)]
        field = best_first[: self.keep]
        choice = yield from self._race().plan([name for name in order if name in field])
        reason = f"Of {counted(len(order))}, the {len(field)} predicted best raced. {choice.reason}"
        return Choice(choice.candidate, reason)

    def _race(self) -> Halving:
        if self.min_epochs is not None:
            return Halving(self.max_epochs, self.eta, self.min_epochs, radius="all")
        race = Halving(self.max_epochs, self.eta, radius="all")
        return replace(race, min_epochs=max(1, race.max_epochs // race.eta))

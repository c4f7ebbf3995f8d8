"""One training, at the cutoff that something cheaper than training points at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttl_lightning.errors import check_choice
from ttl_lightning.search.base import Choice, Method, Plan, Trial, ask, check_candidates


@dataclass(frozen=True)
class Detected(Method):
    """Train the cutoff that was found without training others, such as by the paper's rule.

    Args:
        candidate: the cutoff.
        reason: why it is this one.
    """

    name: ClassVar[str] = "detect"
    candidate: str
    reason: str

    def plan(self, candidates: Sequence[str]) -> Plan:
        """One trial in the stage `detected`; see `Method.plan`.

        Raises:
            UnknownNameError: if the cutoff is not among the candidates.
        """
        check_choice("detected cutoff", self.candidate, check_candidates(candidates))
        trial = Trial(self.candidate, "detected")
        outcome = (yield from ask([trial]))[trial]
        if outcome.value is None:
            return Choice(None, f"{self.reason} Its training could not be scored.")
        return Choice(self.candidate, self.reason)

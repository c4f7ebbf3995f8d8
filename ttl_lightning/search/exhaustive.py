"""Every candidate at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttl_lightning.search.base import Method, Plan, Trial, ask, check_candidates, choose, counted


@dataclass(frozen=True)
class Exhaustive(Method):
    """Try every candidate: the dearest search, and the only one that cannot miss the best."""

    name: ClassVar[str] = "exhaustive"

    def plan(self, candidates: Sequence[str]) -> Plan:
        """One batch of all candidates, in the stage `all`; see `Method.plan`."""
        order = check_candidates(candidates)
        outcomes = yield from ask([Trial(name, "all") for name in order])
        return choose(outcomes, order, counted(len(order)))

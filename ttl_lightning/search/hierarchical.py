"""The ends of the blocks first, then the layers around the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ttl_lightning.search.base import (
    Method,
    Plan,
    Trial,
    ask,
    best,
    check_candidates,
    choose,
    counted,
)
from ttl_lightning.search.neighbourhood import Radius, block_ends, check_radius, layers_around


@dataclass(frozen=True)
class Hierarchical(Method):
    """The paper's two stages: a coarse search over blocks, a fine one over layers.

    It finds the best cutoff where the blocks' scores point to its neighbourhood, and misses one
    that lies elsewhere.

    Args:
        radius: which layers the second stage tries. None: those strictly between the two block
            cutoffs that neighbour the best one (or the network's beginning and end). An integer:
            those within that many positions of it. "all": every candidate not tried yet.

    Raises:
        ConfigError: if the radius is none of these.

    Source:
        The TruncatedTL paper, section 3.2, which leaves open how far the second stage reaches.
    """

    name: ClassVar[str] = "hierarchical"
    radius: Radius = None

    def __post_init__(self) -> None:
        check_radius(self.radius)

    def plan(self, candidates: Sequence[str]) -> Plan:
        """The stage `block`, then the stage `layer` if it has any trial; see `Method.plan`.

        Without any block, the first stage has every candidate.
        """
        order = check_candidates(candidates)
        ends = block_ends(order)
        outcomes = yield from ask([Trial(name, "block") for name in ends])
        top = best(outcomes, order)
        layers = [] if top is None else layers_around(order, ends, top.candidate, self.radius)
        among = counted(len(ends) + len(layers))
        if top and layers:
            outcomes |= yield from ask([Trial(name, "layer") for name in layers])
            among += f", {len(layers)} of them around {top.candidate}"
        return choose(outcomes, order, among)

"""The ends of the blocks first, then the layers around the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ttl_lightning.errors import ConfigError
from ttl_lightning.search.base import (
    Method,
    Plan,
    Trial,
    ask,
    best,
    block_of,
    check_candidates,
    choose,
    counted,
)


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
    radius: int | Literal["all"] | None = None

    def __post_init__(self) -> None:
        if self.radius is None or self.radius == "all":
            return
        if type(self.radius) is not int or self.radius < 1:  # a bool is no radius
            raise ConfigError(
                f"radius must be null (up to the next blocks), an integer of at least 1, "
                f"or 'all', got {self.radius!r}."
            )

    def plan(self, candidates: Sequence[str]) -> Plan:
        """The stage `block`, then the stage `layer` if it has any trial; see `Method.plan`.

        Without any block, the first stage has every candidate.
        """
        order = check_candidates(candidates)
        ends = _block_ends(order) or list(order)
        outcomes = yield from ask([Trial(name, "block") for name in ends])
        top = best(outcomes, order)
        layers = [] if top is None else self._layers(order, ends, top.candidate)
        among = counted(len(ends) + len(layers))
        if top and layers:
            outcomes |= yield from ask([Trial(name, "layer") for name in layers])
            among += f", {len(layers)} of them around {top.candidate}"
        return choose(outcomes, order, among)

    def _layers(self, order: Sequence[str], ends: Sequence[str], center: str) -> list[str]:
        """The untried candidates of the neighbourhood of a block cutoff."""
        middle = order.index(center)
        if self.radius == "all":
            low, high = 0, len(order)
        elif self.radius is None:
            places = [order.index(end) for end in ends]
            low = max((place for place in places if place < middle), default=0)
            high = min((place for place in places if place > middle), default=len(order))
        else:
            low, high = max(middle - self.radius, 0), middle + self.radius + 1
        return [name for name in order[low:high] if name not in ends]


def _block_ends(order: Sequence[str]) -> list[str]:
    """The last candidate of each block, input side first."""
    return list({block: name for name in order if (block := block_of(name))}.values())

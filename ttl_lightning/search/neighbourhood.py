"""The ends of the blocks, and the layers around one of them: where two-stage searches look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ttl_lightning.errors import ConfigError
from ttl_lightning.search.base import block_of

# None: up to the neighbouring blocks' ends; a number of positions on each side; everything.
Radius = int | Literal["all"] | None


def check_radius(radius: object) -> None:
    """Demand a radius.

    Raises:
        ConfigError: if it is none.
    """
    if radius is None or radius == "all":
        return
    if type(radius) is not int or radius < 1:  # a bool is no radius
        raise ConfigError(
            f"radius must be null (up to the next blocks), an integer of at least 1, "
            f"or 'all', got {radius!r}."
        )


def block_ends(order: Sequence[str]) -> list[str]:
    """The last candidate of each block, input side first; every candidate if there is no block."""
    ends = {block: name for name in order if (block := block_of(name))}
    return list(ends.values()) or list(order)


def layers_around(
    order: Sequence[str], ends: Sequence[str], center: str, radius: Radius
) -> list[str]:
    """The candidates around a block's end that are no block's end.

    Args:
        order: every candidate, in network order.
        ends: the blocks' ends.
        center: one of them.
        radius: how far to look; without one, strictly between the ends next to it, or up to the
            network's beginning or end.
    """
    middle = order.index(center)
    if radius == "all":
        low, high = 0, len(order)
    elif radius is None:
        places = [order.index(end) for end in ends]
        low = max((place for place in places if place < middle), default=0)
        high = min((place for place in places if place > middle), default=len(order))
    else:
        low, high = max(middle - radius, 0), middle + radius + 1
    return [name for name in order[low:high] if name not in ends]

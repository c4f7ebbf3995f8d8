"""What a unit is: one step of a backbone, by the paths of its modules in the source network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Shape(NamedTuple):
    """What is known of a map for inputs of any size.

    Attributes:
        channels: of the map.
        reduction: pixels of the input for one of the map's, along each axis: `(4, 4)`, for volumes
            `(2, 4, 4)`.
        short: whether the map lacks a border, as of convolutions that do not pad.
    """

    channels: int
    reduction: tuple[int, ...]
    short: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """One step of a backbone: the named modules, applied one after the other.

    Attributes:
        name: `stem`, `block2.3` or `tail`.
        pieces: the modules' paths in the source network.
        concat: append the result to the input's channels (DenseNet) instead of replacing the input.
        holds: paths of modules and parameters that belong to the unit and are not applied by
            themselves, such as position embeddings.
        shapes: of the map after each piece, at least one; a `Backbone` fills them in.
    """

    name: str
    pieces: tuple[str, ...]
    concat: bool = False
    holds: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = field(default=(), compare=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """Everything of the source network that the unit needs."""
        return (*self.pieces, *self.holds)

    @property
    def channels(self) -> int:
        """Channels of the unit's map."""
        return self.shapes[-1].channels

    @property
    def reduction(self) -> tuple[int, ...]:
        """Pixels of the input for one of the unit's map, along each axis."""
        return self.shapes[-1].reduction

    @property
    def section(self) -> str:
        """The part of the network that the unit belongs to: `stem`, `block2`, `tail`."""
        return self.name.partition(".")[0]

    def owns(self, key: str) -> bool:
        """Whether a tensor of the source network's `state_dict` is the unit's."""
        return any(key == path or key.startswith(f"{path}.") for path in self.paths)

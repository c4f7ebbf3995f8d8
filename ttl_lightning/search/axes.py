"""What settings differ in: an ordered list to try first, and what lies between and beyond."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from ttl_lightning.errors import ConfigError

# Rates closer than this factor are not told apart by one training each.
FINEST = 1.3


@dataclass(frozen=True, slots=True)
class Axis(ABC):
    """One thing that settings differ in.

    Attributes:
        name: `cutoff`, or a key of the configuration.
        values: what is tried first, in order.
    """

    name: str
    values: tuple[str, ...]

    @abstractmethod
    def place(self, value: str) -> float:
        """Where a value lies on the axis."""

    @abstractmethod
    def between(self, value: str, other: str) -> str | None:
        """The value halfway, None if the two are neighbours."""

    @abstractmethod
    def beyond(self, value: str, side: int) -> str | None:
        """The value one step past one at the end (side 1) or the beginning (side -1), if any."""


@dataclass(frozen=True, slots=True)
class Listed(Axis):
    """Values of a list, such as cutoffs.

    Attributes:
        order: every value there is, in order; by default those of `values` alone.
    """

    order: tuple[str, ...] = ()

    def place(self, value: str) -> float:
        """Its number in the list."""
        return (self.order or self.values).index(value)

    def between(self, value: str, other: str) -> str | None:
        """The middle one of those between the two."""
        low, high = sorted((int(self.place(value)), int(self.place(other))))
        return None if high - low < 2 else (self.order or self.values)[(low + high) // 2]

    def beyond(self, value: str, side: int) -> str | None:
        """The one halfway to the end of all, or that end."""
        end = (self.order or self.values)[-1 if side > 0 else 0]
        return None if value == end else self.between(value, end) or end


@dataclass(frozen=True, slots=True)
class Rates(Axis):
    """Positive numbers of which ratios matter, such as learning rates.

    Raises:
        ConfigError: if a value is no positive number, or all of them are one.
    """

    def __post_init__(self) -> None:
        for value in self.values:
            if not positive(value):
                raise ConfigError(f"{self.name} must be a positive number, got {value}.")
        ordered = tuple(sorted({self.place(v): v for v in self.values}.values(), key=self.place))
        object.__setattr__(self, "values", ordered)

    def place(self, value: str) -> float:
        """Its logarithm."""
        return math.log(float(value))

    def between(self, value: str, other: str) -> str | None:
        """The geometric mean, where it is `FINEST` away from both."""
        distance = abs(self.place(value) - self.place(other))
        if distance < 2 * math.log(FINEST):
            return None
        return written(math.exp((self.place(value) + self.place(other)) / 2))

    def beyond(self, value: str, side: int) -> str | None:
        """As far again as the two listed values at that end lie apart."""
        if len(self.values) == 1:
            return None
        last, before = self.values[:-3:-1] if side > 0 else self.values[:2]
        return written(math.exp(self.place(value) + self.place(last) - self.place(before)))


def written(rate: float) -> str:
    """A rate with the digits that matter.

    >>> written(0.1 * 0.0030000001), written(5.477e-4)
    ('0.0003', '0.000548')
    """
    return f"{rate:.3g}"


def spaced(values: Sequence[str], number: int) -> list[str]:
    """So many of the values, evenly spaced with both ends; the middle one alone.

    >>> spaced("abcdefg", 3), spaced("abc", 1), spaced("abc", 9)
    (['a', 'd', 'g'], ['b'], ['a', 'b', 'c'])
    """
    if number >= len(values):
        return list(values)
    if number == 1:
        return [values[len(values) // 2]]
    step = (len(values) - 1) / (number - 1)
    return [values[round(index * step)] for index in range(number)]


def positive(value: str | float) -> bool:
    """Whether it is a finite number above 0."""
    try:
        return 0 < float(value) < math.inf
    except ValueError:
        return False

"""A difference of two methods, its interval and p-value, and those of several rows together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy.special import stdtrit

ALPHA = 0.05
# p-values are found to this share of themselves, and are no smaller.
LEAST_P = 1e-9


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference of means over trainings, and how far chance moves it.

    Attributes:
        difference: ours − theirs.
        by_images: the variance that other images give to the mean over all trainings.
        by_training: the variance that other trainings on the same images add to it.
        freedom: degrees of freedom of `by_training`; None where a side has one training only, so
            that nothing is known of others.
        seeds: how many trainings there are of ours and of theirs.
        images: how many different test samples, or patients, these were compared on.
        paired: whether seeds were compared one by one, as the test images change with the seed.
        rows: of how many comparisons this counts as the most telling one (see `holm`).
        least_p: a p-value not to go below, which comparisons that tell more have already.
        widest: what no difference is beyond; 1 for metrics that lie in [0, 1].
    """

    difference: float
    by_images: float
    by_training: float
    freedom: float | None
    seeds: tuple[int, int]
    images: int
    paired: bool = False
    rows: int = 1
    least_p: float = 0.0
    widest: float = 1.0

    @property
    def p_value(self) -> float | None:
        """Two-sided, adjusted for the rows; None where a side has one training only."""
        if self.freedom is None:
            return None
        return min(1.0, max(self.least_p, self.rows * self.plain_p))

    @property
    def plain_p(self) -> float:
        """Two-sided, of this comparison alone: where its interval just reaches zero."""
        low, high = LEAST_P, 1.0
        while high - low > LEAST_P * high:
            middle = math.sqrt(low * high)
            reaches = self._margin(middle) >= abs(self.difference)
            low, high = (middle, high) if reaches else (low, middle)
        return high

    @property
    def interval(self) -> tuple[float, float]:
        """It excludes zero where p is below 0.05; of one training, 95 % by the images alone."""
        margin = self._margin(ALPHA / self.rows)
        low, high = self.difference - margin, self.difference + margin
        return max(low, -self.widest), min(high, self.widest)

    def _margin(self, alpha: float) -> float:
        """Half the interval of level 1 − alpha: each source of chance with its own quantile.

        Source:
            Zou and Donner, Construction of confidence limits about effect measures: a general
            approach, Statistics in Medicine 27 (2008) 1693-1702: margins add by their squares.
        """
        images, training = (
            float(stdtrit(freedom, 1 - alpha / 2))
            for freedom in (math.inf, self.freedom or math.inf)
        )
        return math.sqrt(images**2 * self.by_images + training**2 * self.by_training)


def holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Correct comparisons for their number: p-values, and intervals that agree with them.

    Of m comparisons, the one of the least p counts as one of m, the next as one of m − 1, and so
    on; from the first on that is not significant, the number stays. An interval has the level
    that its number gives, so it excludes zero just where the corrected p is below 0.05.

    Args:
        comparisons: of one table and metric; those without a p are passed on as they are.

    Source:
        Holm, Scandinavian Journal of Statistics 6 (1979) 65-70. Strassburger and Bretz, Statistics
        in Medicine 27 (2008) 4914-4927: intervals of what is not significant.
    """
    found = list(comparisons)
    tested = [place for place, one in enumerate(found) if one.freedom is not None]
    left, least = len(tested), 0.0
    for place in sorted(tested, key=lambda place: found[place].plain_p):
        found[place] = replace(found[place], rows=left, least_p=least)
        least = found[place].p_value or 0.0
        left -= least < ALPHA
    return found

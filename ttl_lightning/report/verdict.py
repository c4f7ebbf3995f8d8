"""What a difference's interval lets one say."""

from __future__ import annotations

from typing import Literal

from ttl_lightning.metrics.comparison import Comparison
from ttl_lightning.tasks.reports import Metric

Verdict = Literal["better", "no worse", "worse", "not decided"]


def verdict(comparison: Comparison, metric: Metric) -> Verdict | None:
    """The word for it; None where a side has one training, as nothing is known of others.

    `better` and `worse` lie on one side of zero with all of the interval, `no worse` lies above
    minus the margin of the metric's test; where less is better, both the other way round.

    Source:
        Piaggio et al., Reporting of noninferiority and equivalence randomized trials, JAMA 308
        (2012) 2594-2604, figure 1: conclusions from the interval and a margin stated before.
    """
    assert metric.paired  # it was compared
    low, high = sorted(metric.sign * bound for bound in comparison.interval)
    if comparison.freedom is None:
        return None
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "no worse" if low > -metric.paired.margin else "not decided"

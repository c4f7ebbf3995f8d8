"""What a difference's interval lets one say."""

from __future__ import annotations

from typing import Literal

from ttl_lightning.metrics.comparison import Comparison

# A loss of AUROC or AUPRC that is small enough to be outweighed by a smaller model.
MARGIN = 0.02

Verdict = Literal["better", "no worse", "worse", "not decided"]


def verdict(comparison: Comparison) -> Verdict | None:
    """The word for it; None where a side has one training, as nothing is known of others.

    `better` and `worse` lie on one side of zero with all of the interval, `no worse` lies above
    minus `MARGIN`.

    Source:
        Piaggio et al., Reporting of noninferiority and equivalence randomized trials, JAMA 308
        (2012) 2594-2604, figure 1: conclusions from the interval and a margin stated before.
    """
    low, high = comparison.interval
    if comparison.freedom is None:
        return None
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "no worse" if low > -MARGIN else "not decided"

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ttl_lightning.metrics.comparison import Comparison, holm


def having(p) -> Comparison:
    """A comparison of that p, by training alone."""
    return Comparison(0.01 * float(stats.t.isf(p / 2, 4)), 0.0, 1e-4, 4.0, (3, 3), 50)


def test_no_difference_is_beyond_one() -> None:
    """Two seeds, one of which failed, say nothing; the interval is all that there is."""
    assert Comparison(0.5, 0.0, 1.0, 1.0, (2, 2), 50).interval == (-1, 1)


def test_holm_by_hand() -> None:
    """0.005, 0.01, 0.02 and 0.03 times 4, 3, 2 and 1; the last may not pass the one before."""
    alone = replace(having(0.5), freedom=None)
    found = holm([having(0.01), having(0.02), alone, having(0.03), having(0.005)])
    values = [one.p_value for one in found]
    assert values[2] is None
    assert [values[i] for i in (4, 0, 1, 3)] == pytest.approx([0.02, 0.03, 0.04, 0.04], rel=1e-6)
    assert found[2] is alone


def test_intervals_agree_with_corrected_p_values() -> None:
    rng = np.random.default_rng(12)
    for _ in range(50):
        for one in holm([having(p) for p in 0.1 * rng.random(4)]):
            assert (one.interval[0] > 0) == (one.p_value < 0.05)


def test_a_row_that_stays_open_stops_the_next() -> None:
    found = holm([having(0.03), having(0.04)])
    assert [one.p_value for one in found] == pytest.approx([0.06, 0.08], rel=1e-6)
    assert [one.rows for one in found] == [2, 2]

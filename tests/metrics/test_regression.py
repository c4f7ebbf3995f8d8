"""Errors of numbers, beside scikit-learn's and a resampling of the test's own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from ttl_lightning.errors import DataError
from ttl_lightning.metrics.paired import Scored
from ttl_lightning.metrics.regression import Numbers, intervals, r2_parts, score

RNG = np.random.default_rng(0)


def made(n: int, targets: int, noise: float = 0.7) -> Numbers:
    true = 50 + 20 * RNG.normal(size=(n, targets))
    return Numbers(np.arange(n), true + 20 * noise * RNG.normal(size=true.shape), true)


def test_the_metrics_are_scikit_learns() -> None:
    table = made(40, 2)
    found = score(table, ("age", "weight")).values
    for name, own in (("mae", mean_absolute_error), ("mse", mean_squared_error), ("r2", r2_score)):
        each = own(table.true, table.predicted, multioutput="raw_values")
        assert found[f"{name}/age"] == pytest.approx(each[0])
        assert found[f"{name}/weight"] == pytest.approx(each[1])
        assert found[name] == pytest.approx(each.mean())


def test_what_is_not_known_counts_nowhere() -> None:
    table = made(40, 1)
    table.true[::4] = np.nan
    known = ~np.isnan(table.true[:, 0])
    found = score(table, ("age",)).values
    assert found["r2"] == pytest.approx(r2_score(table.true[known], table.predicted[known]))
    table.true[:] = np.nan
    scores = score(table, ("age",))
    assert scores.values == dict.fromkeys(("mae", "mse", "r2"))
    assert "none is known" in scores.notes["mae"]


def test_one_value_alone_has_errors_and_no_r2() -> None:
    table = Numbers(np.arange(3), np.array([[1.0], [2.0], [3.0]]), np.full((3, 1), 2.0))
    scores = score(table, ("age",))
    assert scores.values["mae"] == pytest.approx(2 / 3)
    assert scores.values["r2"] is None
    assert scores.notes["r2"] == "every known value is the same"
    assert intervals(table)["r2"] is None


def test_intervals_are_about_those_of_a_resampling_by_hand() -> None:
    table = made(300, 1)
    found = intervals(table)
    draws = RNG.integers(0, 300, (2000, 300))
    for name, own in (("mae", mean_absolute_error), ("r2", r2_score)):
        values = [own(table.true[draw], table.predicted[draw]) for draw in draws]
        low, high = np.quantile(values, (0.025, 0.975))
        assert found[name] == pytest.approx((low, high), abs=0.15 * (high - low))


def test_patients_are_drawn_together() -> None:
    table = made(60, 1)
    twice = Numbers(
        np.arange(120), np.repeat(table.predicted, 2, axis=0), np.repeat(table.true, 2, axis=0)
    )
    patients = [f"p{number // 2:03}" for number in range(120)]
    assert intervals(twice, patients)["mae"] == pytest.approx(intervals(table)["mae"], rel=1e-6)


def test_the_parts_of_r2_are_its_jackknife() -> None:
    table = made(400, 1)
    ids = tuple(map(str, table.ids))
    value, parts = r2_parts(Scored(ids, table.predicted, table.true))
    assert value == pytest.approx(r2_score(table.true, table.predicted))
    without = np.array(
        [
            r2_score(np.delete(table.true, row, 0), np.delete(table.predicted, row, 0))
            for row in range(400)
        ]
    )
    jackknife = (without.mean() - without) * np.sqrt(399 / 400)
    np.testing.assert_allclose(parts, jackknife, atol=0.03 * np.abs(jackknife).max())
    assert (parts**2).sum() == pytest.approx((jackknife**2).sum(), rel=0.03)


def test_a_target_of_one_value_is_not_tested() -> None:
    table = Scored(("a", "b"), np.zeros((2, 1)), np.ones((2, 1)))
    with pytest.raises(DataError, match="fewer than two different values"):
        r2_parts(table)

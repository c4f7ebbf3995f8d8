from __future__ import annotations

import numpy as np
import pytest
import torch

from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.interpret.moments import Moments
from ttl_lightning.interpret.svcca import cca, relate, similarity, svcca, whiten


def basis(x: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span the centred features, which have full rank."""
    return np.linalg.qr(x - x.mean(0))[0]


def reference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Björck and Golub: cosines of the angles between two subspaces, by QR and SVD."""
    return np.linalg.svd(basis(x).T @ basis(y), compute_uv=False)


def truncated(x: np.ndarray, variance: float) -> np.ndarray:
    """Leading singular vectors, scaled, from the features themselves."""
    u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    kept = np.searchsorted(np.cumsum(s**2) / np.sum(s**2), variance) + 1
    return u[:, :kept] * s[:kept]


def features(n: int = 400, p: int = 12, q: int = 9, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two sides that share five directions, with correlations from strong to weak."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 5))
    x = common @ rng.standard_normal((5, p)) + 0.5 * rng.standard_normal((n, p))
    y = common * [3, 2, 1, 0.5, 0.1] @ rng.standard_normal((5, q)) + rng.standard_normal((n, q))
    return x, y


def moments(x: np.ndarray, y: np.ndarray):
    accumulated = Moments([("x", "y")])
    accumulated.update({"x": torch.tensor(x), "y": torch.tensor(y)})
    return accumulated.pair("x", "y")


@pytest.mark.parametrize("sizes", [(400, 12, 9), (5000, 3, 40), (100, 30, 60), (300, 1, 1)])
def test_coefficients_are_those_of_qr_and_svd(sizes):
    x, y = features(*sizes)
    found = cca(x, y)
    assert found.shape == (min(sizes[1:]),)
    assert (np.diff(found) <= 0).all()
    np.testing.assert_allclose(found, reference(x, y), atol=1e-10)


def test_a_wide_range_of_variances_keeps_eight_digits():
    x, y = features(2000, 20, 20)
    rng = np.random.default_rng(1)
    mixed = x @ np.diag(np.logspace(0, -3, 20)) @ np.linalg.qr(rng.standard_normal((20, 20)))[0]
    np.testing.assert_allclose(cca(mixed, y), reference(x, y), atol=1e-8)


def test_no_side_is_changed_by_an_invertible_map():
    x, y = features()
    rng = np.random.default_rng(1)
    turned = x @ rng.standard_normal((12, 12)) + 5
    np.testing.assert_allclose(cca(turned, y), cca(x, y), atol=1e-9)
    np.testing.assert_allclose(cca(y, turned), cca(x, y), atol=1e-9)


@pytest.mark.parametrize("side", [0, 1])
def test_truncation_knows_no_rotation_scale_or_shift(side):
    sides = list(features())
    before = svcca(*sides, variance=0.9)
    width = sides[side].shape[1]
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((width, width)))[0]
    sides[side] = 1e-3 * sides[side] @ turn + np.arange(width)
    np.testing.assert_allclose(svcca(*sides, variance=0.9), before, atol=1e-9)


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99])
def test_truncation_is_that_of_singular_vectors_of_the_features(variance):
    x, y = features()
    left, right = truncated(x, variance), truncated(y, variance)
    found = similarity(moments(x, y), variance)
    assert found.retained == (left.shape[1], right.shape[1])
    assert found.retained != (12, 9)
    np.testing.assert_allclose(found.coefficients, reference(left, right), atol=1e-10)
    np.testing.assert_allclose(svcca(x, y, variance), found.coefficients, atol=1e-12)


@pytest.mark.parametrize("variance", [0.9, 1.0])
def test_components_whiten_and_project_the_features(variance):
    x, y = features()
    x *= np.logspace(0, 1, 12)
    seen = moments(x, y)
    side = whiten(seen.xx, variance)
    white = (x - x.mean(0)) @ side.whitening.numpy()
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(len(side.roots)), atol=1e-10)
    projections = white.T @ (x - x.mean(0)) / len(x)
    np.testing.assert_allclose(side.projections.numpy(), projections, atol=1e-9)


def test_one_side_is_related_with_many():
    x, y = features()
    z = features(seed=3)[1]
    side = whiten(moments(x, y).xx, 0.9)
    for other in (y, z):
        seen = moments(x, other)
        found = relate(side, whiten(seen.yy, 0.9), seen.xy, seen.n)
        expected = reference(truncated(x, 0.9), truncated(other, 0.9))
        np.testing.assert_allclose(found.coefficients, expected, atol=1e-10)


def test_the_default_keeps_99_percent():
    x, y = features()
    np.testing.assert_array_equal(svcca(x, y), svcca(x, y, 0.99))
    assert similarity(moments(x, y)).retained == similarity(moments(x, y), 0.99).retained


def test_one_component_is_kept_at_least():
    x, y = features()
    assert similarity(moments(x, y), 0.0).retained == (1, 1)


def test_dead_and_duplicate_channels_change_nothing():
    x, y = features()
    before = cca(x, y)
    constant = np.full((400, 1), 0.1)
    sums = x[:, :1] + 2 * x[:, 1:2]
    for worse in ([x, 0 * constant], [x, constant], [x, x[:, 2:5]], [sums, x, -3 * x]):
        joined = np.concatenate(worse, 1)
        np.testing.assert_allclose(cca(joined, y), before, atol=1e-9)
        np.testing.assert_allclose(cca(y, joined), before, atol=1e-9)
        single = joined.astype(np.float32), y.astype(np.float32)
        np.testing.assert_allclose(cca(*single)[:9], before, atol=1e-5)


def test_float32_rounding_of_a_dependent_channel_is_no_direction():
    x, y = features(n=3000)
    x = x.astype(np.float32)
    double = np.concatenate([x, (0.1 * x[:, :1]).astype(np.float32) * np.float32(3)], 1)
    assert similarity(moments(double, y), 1.0).retained == (12, 9)


def test_channels_that_are_all_duplicates_leave_as_many_coefficients_as_the_rank():
    x, y = features()
    doubled = np.repeat(x[:, :3], 4, axis=1)
    found = cca(doubled, y)
    assert found.shape == (3,)
    np.testing.assert_allclose(found, reference(x[:, :3], y), atol=1e-10)


@pytest.mark.parametrize("scale", [1e-6, 1e-12, 1e6])
def test_a_weak_channel_counts_in_cca_as_any_other(scale):
    x, y = features()
    before = cca(x, y)
    x[:, 3] *= scale
    assert len(cca(x, y)) == 9
    np.testing.assert_allclose(cca(x, y), before, atol=1e-9)


def test_a_large_mean_keeps_the_coefficients():
    x, y = features(n=5000)
    before = cca(x, y)
    np.testing.assert_allclose(cca(x + 1e6, y - 1e6), before, atol=1e-6)
    assert cca((x + 1e4).astype(np.float32), y) == pytest.approx(before, abs=1e-2)


def test_fewer_samples_than_channels_give_ones_of_the_rank():
    x, y = features(n=10, p=30, q=20)
    found = cca(x, y)
    np.testing.assert_allclose(found, np.ones(9), atol=1e-9)  # centring takes one
    assert cca(x[:, :4], y).shape == (4,)
    assert svcca(x, y).max() <= 1


def test_constant_features_have_no_coefficients_and_no_mean():
    _, y = features()
    dead = np.full((400, 3), 0.1)
    for sides in ((dead, y), (y, dead), (dead, dead)):
        assert cca(*sides).shape == svcca(*sides).shape == (0,)
    found = similarity(moments(dead, y))
    assert (found.mean, found.pwcca, found.n) == (None, None, 400)
    assert found.retained[0] == 0
    assert found.retained[1] > 0


def test_features_are_fully_alike_themselves():
    x, _ = features()
    found = similarity(moments(x, 2 * x), 1.0)
    np.testing.assert_allclose(found.coefficients, np.ones(12), atol=1e-12)
    assert (found.mean, found.pwcca) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(("p", "q"), [(12, 9), (9, 12)])
@pytest.mark.parametrize("variance", [1.0, 0.9])
def test_pwcca_weighs_by_the_variates_projections_of_the_first_features(p, q, variance):
    x, y = features(p=p, q=q)
    x *= np.logspace(0, 1, p)
    left, right = (basis(truncated(side, variance) if variance < 1 else side) for side in (x, y))
    u, s, _ = np.linalg.svd(left.T @ right, full_matrices=False)
    variates = left @ u  # (n, k), orthonormal
    weights = np.abs(variates.T @ (x - x.mean(0))).sum(1)
    found = similarity(moments(x, y), variance)
    assert found.mean == pytest.approx(s.mean(), abs=1e-10)
    assert found.pwcca == pytest.approx(weights @ s / weights.sum(), abs=1e-10)
    assert found.pwcca != pytest.approx(s.mean(), abs=1e-3)


def test_arrays_and_tensors_give_the_same_array():
    x, y = features()
    x.flags.writeable = False
    found = cca(x, y[::-1][::-1])
    assert isinstance(found, np.ndarray)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(cca(torch.tensor(x), torch.tensor(y)), found)
    np.testing.assert_allclose(cca(x.astype(np.float32), torch.tensor(y)), found, atol=1e-5)
    whole = (100 * x).astype(np.int64)
    np.testing.assert_allclose(cca(whole, y), reference(whole, y), atol=1e-10)


def test_what_are_not_two_tables_of_the_same_samples_is_an_error():
    x, y = features()
    with pytest.raises(DataError, match=r"same samples, got shapes \(400, 12\) and \(399, 9\)"):
        cca(x, y[:-1])
    with pytest.raises(DataError, match=r"tables .* got shapes \(400,\) and \(400, 9\)"):
        svcca(x[:, 0], y)
    with pytest.raises(DataError, match="covariances need two samples, got 1"):
        cca(x[:1], y[:1])
    with pytest.raises(ConfigError, match="variance must be a number from 0 to 1, got 99"):
        svcca(x, y, variance=99)

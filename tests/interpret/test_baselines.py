from __future__ import annotations

import numpy as np
import pytest
import torch

from ttl_lightning.errors import ConfigError, DataError
from ttl_lightning.interpret.baselines import (
    expected_coefficients,
    mismatched,
    spectrum_edges,
)
from ttl_lightning.interpret.svcca import cca


@pytest.mark.parametrize(
    ("p", "q", "n", "low", "high"),
    [  # the paper's figures, by block of ResNet50
        (256, 256, 2_960_384, 0.0, 0.019),
        (512, 512, 740_096, 0.0, 0.053),
        (1024, 1024, 185_024, 0.0, 0.148),
        (2048, 2048, 46_256, 0.0, 0.411),
        (1024, 2048, 46_256, 0.063, 0.354),
        (512, 2048, 46_256, 0.106, 0.312),
    ],
)
def test_edges_are_those_of_the_published_random_curves(p, q, n, low, high):
    assert spectrum_edges(p, q, n) == pytest.approx((low, high), abs=5e-4)
    assert spectrum_edges(q, p, n) == spectrum_edges(p, q, n)


def test_edges_where_samples_are_few():
    assert spectrum_edges(10, 4, 10) == (1.0, 1.0)
    assert spectrum_edges(3, 50, 10) == (1.0, 1.0)
    assert spectrum_edges(5, 5, 10) == pytest.approx((0.0, 1.0))
    assert spectrum_edges(6, 6, 10)[1] < 1  # of those that are not 1


def drawn(p: int, q: int, n: int, draws: int) -> np.ndarray:
    """(draws, min(p, q, n - 1)), of features that are really drawn, by QR and SVD."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(draws):
        left, right = (rng.standard_normal((n, width)) for width in (p, q))
        bases = [np.linalg.svd(x - x.mean(0), full_matrices=False) for x in (left, right)]
        spans = [u[:, s > 1e-9] for u, s, _ in bases]
        found.append(np.linalg.svd(spans[0].T @ spans[1], compute_uv=False).clip(0, 1))
    return np.array(found)


@pytest.mark.parametrize(
    ("p", "q", "n"),
    [
        (16, 16, 100), (16, 16, 1000), (16, 64, 300), (64, 20, 300), (30, 40, 60), (32, 32, 500),
        (20, 50, 60), (80, 80, 100), (80, 80, 320), (60, 100, 150),
    ],
)  # fmt: skip
def test_the_mean_is_that_of_drawn_features(p, q, n):
    means = drawn(p, q, n, 40).mean(1)
    error = means.std() / np.sqrt(len(means))
    ours = expected_coefficients(p, q, n)
    assert ours.mean() == pytest.approx(means.mean(), abs=0.003 + 2 * error)
    np.testing.assert_array_equal(ours, expected_coefficients(q, p, n))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("p", "q", "n"), [(1, 1, 30), (2, 2, 50), (2, 9, 100), (4, 6, 30), (8, 6, 12), (12, 3, 10)]
)
def test_of_few_dimensions_the_law_is_off_by_no_more_than_a_hundredth(p, q, n):
    means = drawn(p, q, n, 4000).mean(1)
    error = means.std() / np.sqrt(len(means))
    assert expected_coefficients(p, q, n).mean() == pytest.approx(
        means.mean(), abs=0.01 + 2 * error
    )


@pytest.mark.parametrize(
    ("p", "q", "n"), [(60, 60, 600), (40, 120, 400), (120, 40, 400), (60, 60, 121), (70, 70, 120)]
)
def test_each_coefficient_is_the_mean_of_its_draws(p, q, n):
    features, ours = drawn(p, q, n, 30), expected_coefficients(p, q, n)
    assert ours.shape == features.shape[1:]
    assert (np.diff(ours) <= 1e-12).all()
    np.testing.assert_allclose(ours, features.mean(0), atol=0.02)
    ones = max(0, p + q - n + 1)
    assert (ours > 1 - 1e-9).sum() == (features[0] > 1 - 1e-9).sum() == ones
    low, high = spectrum_edges(p, q, n)
    between = ours[ones:]
    assert (between.min(), between.max()) == pytest.approx((low, high), abs=0.03)


@pytest.mark.parametrize(("p", "q", "n"), [(12, 14, 10), (5, 20, 20), (3, 3, 4), (1, 1, 2)])
def test_too_few_samples_make_all_features_alike(p, q, n):
    np.testing.assert_array_equal(expected_coefficients(p, q, n), np.ones(min(p, q, n - 1)))


def test_the_mean_of_one_against_many_dimensions_is_the_multiple_correlation():
    (only,) = expected_coefficients(1, 5000, 20_000)
    assert only == pytest.approx(np.sqrt(0.25), abs=1e-3)


def test_of_few_dimensions_a_sample_they_follow_the_quarter_circle_law():
    p, n = 512, 740_096  # the paper's second block
    found = expected_coefficients(p, p, n)
    assert found.mean() == pytest.approx(8 / (3 * np.pi) * np.sqrt(p / n), rel=1e-3)
    assert (found.min(), found.max()) == pytest.approx((0.0, 0.053), abs=1e-3)


def test_blocks_of_unequal_width_reach_the_published_edges():
    found = expected_coefficients(1024, 2048, 46_256)
    assert (found.min(), found.max()) == pytest.approx((0.063, 0.354), abs=2e-3)


def test_mismatched_images_keep_no_place():
    rng = np.random.default_rng(0)
    orders = [mismatched(5, rng).tolist() for _ in range(200)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert all(image != place for order in orders for place, image in enumerate(order))
    assert len({tuple(order) for order in orders}) == 24  # cycles of five
    assert mismatched(2, rng).tolist() == [1, 0]
    with pytest.raises(DataError, match="batches of two or more, got 1"):
        mismatched(1, rng)


def test_mismatched_images_are_as_alike_as_unrelated_ones():
    x = torch.randn(2000, 8)
    y = x + 0.1 * torch.randn(2000, 8)
    shuffled = y[mismatched(2000, np.random.default_rng(0))]
    assert cca(x, y).mean() > 0.99
    assert cca(x, shuffled).mean() == pytest.approx(
        expected_coefficients(8, 8, 2000).mean(), rel=0.4
    )


def test_numbers_out_of_range_are_errors():
    with pytest.raises(ConfigError, match="p must be an integer of at least 1, got 0"):
        spectrum_edges(0, 2, 5)
    with pytest.raises(ConfigError, match=r"q must be an integer of at least 1, got 2\.5"):
        expected_coefficients(2, 2.5, 5)
    with pytest.raises(ConfigError, match="n must be an integer of at least 2, got 1"):
        expected_coefficients(2, 2, 1)

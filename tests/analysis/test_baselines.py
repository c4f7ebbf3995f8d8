from __future__ import annotations

import numpy as np
import pytest
import torch

from ttl_lightning.analysis.baselines import (
    expected_mean,
    gaussian_coefficients,
    mismatched,
    spectrum_edges,
)
from ttl_lightning.analysis.svcca import cca
from ttl_lightning.errors import ConfigError, DataError


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


def spectra(p: int, q: int, n: int, draws: int = 300) -> np.ndarray:
    """(draws, min(p, q, n - 1)), of features that are really drawn, by QR and SVD."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(draws):
        left, right = (rng.standard_normal((n, width)) for width in (p, q))
        bases = [np.linalg.svd(x - x.mean(0), full_matrices=False) for x in (left, right)]
        spans = [u[:, s > 1e-9] for u, s, _ in bases]
        found.append(np.linalg.svd(spans[0].T @ spans[1], compute_uv=False))
    return np.array(found)


@pytest.mark.parametrize(
    ("p", "q", "n"), [(4, 6, 30), (6, 4, 30), (3, 3, 8), (8, 6, 12), (12, 3, 10), (12, 14, 10)]
)
def test_drawn_coefficients_are_distributed_as_those_of_drawn_features(p, q, n):
    real = spectra(p, q, n)
    ours = np.array([gaussian_coefficients(p, q, n, seed) for seed in range(300)])
    assert ours.shape == real.shape
    assert (np.diff(ours) <= 1e-12).all()
    error = np.hypot(real.std(0), ours.std(0)) / np.sqrt(300)
    assert (np.abs(ours.mean(0) - real.mean(0)) <= 4 * error + 1e-9).all()
    np.testing.assert_allclose(ours.std(0), real.std(0), rtol=0.25, atol=1e-9)


@pytest.mark.parametrize(
    ("p", "q", "n"),
    [(300, 300, 3000), (100, 400, 2000), (400, 100, 2000), (300, 300, 600), (350, 350, 600)],
)
def test_the_expected_mean_and_edges_are_those_of_a_large_draw(p, q, n):
    drawn = gaussian_coefficients(p, q, n)
    assert expected_mean(p, q, n) == pytest.approx(drawn.mean(), rel=0.01)
    low, high = spectrum_edges(p, q, n)
    between = drawn[drawn < 1 - 1e-9]
    assert len(drawn) - len(between) == max(0, p + q - n + 1)
    assert (between.min(), between.max()) == pytest.approx((low, high), abs=0.03)


def test_the_expected_mean_of_few_samples_is_one():
    assert expected_mean(5, 20, 20) == 1.0


def test_the_expected_mean_of_one_against_many_dimensions_is_the_multiple_correlation():
    assert expected_mean(1, 5000, 20_000) == pytest.approx(np.sqrt(0.25), abs=1e-3)


def test_a_draw_of_the_papers_second_block_needs_no_features():
    drawn = gaussian_coefficients(512, 512, 740_096)
    assert drawn.shape == (512,)
    assert drawn.max() == pytest.approx(0.053, abs=1e-3)
    assert drawn.min() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.slow
def test_a_draw_of_blocks_of_unequal_width():
    drawn = gaussian_coefficients(1024, 2048, 46_256)
    assert (drawn.min(), drawn.max()) == pytest.approx((0.063, 0.354), abs=2e-3)


def test_draws_are_reproducible():
    np.testing.assert_array_equal(gaussian_coefficients(4, 5, 50), gaussian_coefficients(4, 5, 50))
    assert (gaussian_coefficients(4, 5, 50) != gaussian_coefficients(4, 5, 50, seed=1)).all()


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
    assert cca(x, shuffled).mean() == pytest.approx(expected_mean(8, 8, 2000), rel=0.4)


def test_numbers_out_of_range_are_errors():
    with pytest.raises(ConfigError, match="p must be an integer of at least 1, got 0"):
        spectrum_edges(0, 2, 5)
    with pytest.raises(ConfigError, match=r"q must be an integer of at least 1, got 2\.5"):
        expected_mean(2, 2.5, 5)
    with pytest.raises(ConfigError, match="n must be an integer of at least 2, got 1"):
        gaussian_coefficients(2, 2, 1)

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import qmc
from torchvision.transforms.v2 import functional as tv

from ttl_lightning.data.transforms import AXES, FLIP, Augment, draw_warps, normalize, warp, warps_at
from ttl_lightning.data.views.evaluation import (
    EVAL_VIEWS,
    CropTransform,
    EvalTransform,
    SeveralViews,
    evaluation,
    mean_scale,
    spread_points,
)
from ttl_lightning.errors import UnknownNameError

STILL = Augment(1.0, (1.0, 1.0), (1.0, 1.0), 0.0, 0.0)
IMAGES = torch.rand(5, 3, 24, 24, generator=torch.Generator().manual_seed(0))
KEYS = [(0, i) for i in range(5)]
PLAIN = ((0.0,) * 3, (1.0,) * 3)


def test_center_crop_copies_the_middle_pixels() -> None:
    crop = evaluation("center_crop", Augment(), 20, *PLAIN)
    assert torch.equal(crop(IMAGES, KEYS), tv.center_crop(IMAGES, [20, 20]))
    assert crop.area(24) == pytest.approx(400 / 576)


@pytest.mark.parametrize("stored", [37, 36])
@pytest.mark.parametrize("scale", [0.8, 1.0])
def test_evaluation_reads_about_the_exact_centre(stored: int, scale: float) -> None:
    # of a ramp, bilinear reading is exact: each output pixel has the coordinate of its middle
    ramp = torch.arange(stored).float().expand(1, 1, stored, stored)
    seen = EvalTransform(32, (0.0,), (1.0,), scale)(ramp, [(0, 0)])[0, 0]
    middle = (stored - 1) / 2
    expected = middle + ((torch.arange(32) + 0.5) / 32 - 0.5) * scale * stored
    torch.testing.assert_close(seen[16], expected.clip(0, stored - 1), atol=1e-3, rtol=0)
    assert seen[16].mean().item() == pytest.approx(middle, abs=1e-3)


def test_evaluation_reads_as_a_training_crop_of_its_scale_does() -> None:
    scale = 0.8
    still = Augment(1.0, (scale**2, scale**2), (1.0, 1.0), 0.0, 0.0)
    warps = draw_warps(still, 0, KEYS)
    warps[:, :, 2] = 0  # that is, in the middle
    seen = evaluation("train_scale", still, 20, *PLAIN)(IMAGES, KEYS)
    torch.testing.assert_close(seen, warp(IMAGES, warps, 20))


def test_whole_loses_no_pixel() -> None:
    whole = evaluation("whole", Augment(), 24, *PLAIN)
    torch.testing.assert_close(whole(IMAGES, KEYS), IMAGES)
    assert whole.area(24) == 1


def test_the_scale_of_training_is_the_mean_side_of_its_crops() -> None:
    low, high = 0.6, 1.0
    square = Augment(1.0, (low, high), (1.0, 1.0), 0.0, 0.0)
    assert mean_scale(square) == pytest.approx(
        2 / 3 * (high**1.5 - low**1.5) / (high - low), abs=1e-6
    )
    assert mean_scale(STILL) == 1
    for augment in (Augment(horizontal_flip=0), Augment(1.0, (0.3, 1.0), (0.5, 2.0), 7.0, 0.0)):
        warps = draw_warps(augment, 4, [(0, i) for i in range(40000)])
        sides = np.linalg.norm(warps[:, :, :2], axis=1)
        error = 5 * sides.mean(1).std() / 200  # of the draws
        assert mean_scale(augment) == pytest.approx(sides.mean(), abs=float(error))


def test_an_unknown_view_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data.eval_view 'center'; did you mean"):
        evaluation("center", Augment(), 20, *PLAIN)


def test_views_differ_in_what_they_show() -> None:
    shown = [evaluation(view, Augment(), 20, *PLAIN)(IMAGES, KEYS) for view in EVAL_VIEWS]
    assert isinstance(evaluation("center_crop", Augment(), 20, *PLAIN), CropTransform)
    for i, one in enumerate(shown):
        assert all((one - other).abs().max() > 0.01 for other in shown[i + 1 :])


@pytest.mark.parametrize("count", [2, 3, 5, 9, 16, 64])
def test_few_views_already_stand_for_training(count: int) -> None:
    points = spread_points(count)
    assert points.shape == (count - 1, AXES)
    rest = np.delete(points, FLIP, axis=1)
    middles = (np.arange(count - 1) + 0.5) / (count - 1)
    np.testing.assert_allclose(np.sort(rest, axis=0), middles[:, None].repeat(AXES - 1, 1))
    for probability in (0.0, 0.5, 1.0):
        flipped = (points[:, FLIP] < probability).sum()
        assert abs(flipped - probability * count) <= 1
        assert flipped == 0 or probability > 0, "flipped where the protocol does not flip"


@pytest.mark.parametrize("count", [9, 16, 64])
def test_views_are_spread_more_evenly_than_drawn_ones(count: int) -> None:
    rng = np.random.default_rng(0)
    drawn = [qmc.discrepancy(rng.random((count - 1, AXES))) for _ in range(200)]
    assert qmc.discrepancy(spread_points(count)) < np.quantile(drawn, 0.05)


def test_several_views_are_the_evaluations_and_warps_of_training() -> None:
    augment = Augment(horizontal_flip=0.5)
    stats = ((0.1,) * 3, (0.5,) * 3)
    first = evaluation("train_scale", augment, 20, *stats)
    views = SeveralViews(first, augment, 5)(IMAGES, KEYS)
    assert views.shape == (5, 5, 3, 20, 20)
    assert torch.equal(views[:, 0], first(IMAGES, KEYS))
    for view, warps in zip(
        views[:, 1:].unbind(1), warps_at(augment, spread_points(5)), strict=True
    ):
        alone = torch.cat([warp(image[None], warps[None], 20) for image in IMAGES])
        torch.testing.assert_close(view, normalize(alone, *stats))
    again = SeveralViews(first, augment, 5)(IMAGES[2:3], [(9, 4)])
    assert torch.equal(again[0], views[2]), "views depend on the sample's key or batch"


def test_views_of_a_volume_are_views_of_its_slices() -> None:
    first = evaluation("whole", Augment(), 20, (0.1, 0.2), (0.5, 0.6))
    several = SeveralViews(first, Augment(), 3)
    volumes = several(IMAGES[:, None, :3, :, :], KEYS)
    assert volumes.shape == (5, 3, 2, 3, 20, 20)
    for i in range(3):
        torch.testing.assert_close(volumes[:, :, :, i], several(IMAGES[:, i : i + 1], KEYS))
